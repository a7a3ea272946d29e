"""Writes src/model/architectures.csv: what timm's registry says of every architecture that is a VisionTransformer here.

    pip install timm==1.0.31 torch
    python scripts/architectures.py > src/model/architectures.csv

Models are built without storage (the meta device) and read back, so that the table holds what timm really builds.
`params` is timm's own count; a test adds up the crate's canonical weights and compares.
"""

import sys

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

ACTS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "silu", "ReLU": "relu"}
BLOCKS = {"Block": "pre_norm", "ResPostBlock": "res_post", "ParallelScalingBlock": "parallel_scaling", "ParallelThingsBlock": "parallel_things"}
MLPS = {"Mlp": "plain", "GluMlp": "glu", "SwiGLU": "glu"}
COLUMNS = "name,img_size,patch_size,embed_dim,depth,num_heads,mlp_hidden,mlp,act,norm,norm_eps,block,class_token,reg_tokens,no_embed_class,pre_norm,embed_norm,qkv_bias,proj_bias,qk_norm,layer_scale,global_pool,pool_include_prefix,final_norm,fc_norm,distilled,num_classes,params"


def identity(module) -> bool:
    return module is None or isinstance(module, torch.nn.Identity)


def row(name: str, model: VisionTransformer) -> list:
    block = model.blocks[0]
    kind = BLOCKS[type(block).__name__]
    if kind == "parallel_things":
        attn, mlp, norm, scale = block.attns[0].attn, block.ffns[0].mlp, block.attns[0].norm, block.attns[0].ls
    elif kind == "parallel_scaling":
        attn, mlp, norm, scale = block, None, block.in_norm, block.ls
    else:
        attn, mlp, norm, scale = block.attn, block.mlp, block.norm1, getattr(block, "ls1", None)
    if mlp is None:
        glu, hidden, act = "plain", block.mlp_out_proj.in_features, block.mlp_act
        qkv, proj = block.in_proj, block.attn_out_proj
    else:
        glu, hidden, act = MLPS[type(mlp).__name__], mlp.fc2.in_features, mlp.act
        qkv, proj = attn.qkv, attn.proj
    assert type(attn).__name__ in ("Attention", "ParallelScalingBlock"), "another attention"
    scaled = getattr(attn, "norm", None)
    assert identity(scaled) and identity(getattr(mlp, "norm", None)), "norms within a branch"
    patch = model.patch_embed.patch_size
    size = model.patch_embed.img_size
    assert size[0] == size[1] and patch[0] == patch[1]
    bools = [
        model.has_class_token,
        model.num_reg_tokens,
        model.no_embed_class,
        not identity(model.norm_pre),
        not identity(model.patch_embed.norm),
        qkv.bias is not None,
        proj.bias is not None,
        not identity(attn.q_norm),
        not identity(scale),
        model.global_pool,
        model.pool_include_prefix,
        not identity(model.norm),
        not identity(model.fc_norm),
        hasattr(model, "dist_token"),
        model.num_classes,
    ]
    kind_of_norm = {"LayerNorm": "layer", "RmsNorm": "rms"}[type(norm).__name__]
    flags = [int(value) if isinstance(value, bool) else value for value in bools]
    params = sum(p.numel() for p in model.parameters())
    return [name, size[0], patch[0], model.embed_dim, len(model.blocks), attn.num_heads, hidden, glu, ACTS[type(act).__name__], kind_of_norm, norm.eps, kind, *flags, params]


def main() -> None:
    print(COLUMNS)
    for name in timm.list_models():
        if timm.model_entrypoint(name).__module__ not in ("timm.models.vision_transformer", "timm.models.deit"):
            continue
        with torch.device("meta"):
            model = timm.create_model(name)
        try:
            print(",".join(map(str, row(name, model))))
        except (KeyError, AssertionError, AttributeError) as error:
            print(f"left out: {name} ({error!r})", file=sys.stderr)


if __name__ == "__main__":
    main()
