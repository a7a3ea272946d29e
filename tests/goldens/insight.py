"""Attention maps, rollout and relevance, computed with PyTorch hooks on models that are goldens already.

    python tests/goldens/insight.py

Writes insight/NAME.safetensors: what src/insight/ must give for assets/cat.png.
"""

import json

import timm
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from timm.data import create_transform, resolve_data_config
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from common import HERE, MODELS

CAT = HERE.parent.parent / "assets" / "cat.png"
GAUSSIAN = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]]) / 16


def timm_model(name):
    config = json.loads((MODELS / name / "config.json").read_text())
    args = {**config["model_args"], "num_classes": config["num_classes"]}
    args.setdefault("global_pool", config["global_pool"])
    if config["architecture"].startswith("vit_base_patch16_siglip"):
        args.setdefault("class_token", False)
    cls = VisionTransformerDistilled if name == "timm_distilled" else VisionTransformer
    model = cls(**args)
    model.load_state_dict(load_file(MODELS / name / "model.safetensors"))
    transform = create_transform(**resolve_data_config({}, pretrained_cfg=config["pretrained_cfg"]))
    return model.double().eval(), transform(Image.open(CAT).convert("RGB"))[None].double()


def attentions(model, x):
    """What the softmax gives, in every block: timm drops it out by a layer of its own, which does nothing in evaluation."""
    maps, handles = [], []
    for block in model.blocks:
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(lambda _, args, __: maps.append(args[0])))
    if model.attn_pool is not None:
        handles.append(model.attn_pool.register_forward_hook(lambda pool, args, _: maps.append(pooling(pool, args[0]))))
    with torch.no_grad():
        model(x)
    for handle in handles:
        handle.remove()
    return maps


def pooling(pool, x):
    """The attention of timm's AttentionPoolLatent."""
    batch, tokens, _ = x.shape
    q = pool.q(pool.latent.expand(batch, -1, -1)).reshape(batch, pool.latent_len, pool.num_heads, pool.head_dim).transpose(1, 2)
    k = pool.kv(x).reshape(batch, tokens, 2, pool.num_heads, pool.head_dim).permute(2, 0, 3, 1, 4)[0]
    return (pool.q_norm(q) * pool.scale @ pool.k_norm(k).transpose(-2, -1)).softmax(-1)


def rollout(maps, fusion, discard, class_token, patches):
    product = torch.eye(maps[0].shape[-1], dtype=torch.float64)
    for layer in maps:
        heads = layer[0].float()
        fused = {"mean": lambda: heads.mean(0), "max": lambda: heads.amax(0), "min": lambda: heads.amin(0)}[fusion]().double()
        flat = fused.flatten()
        lowest = torch.argsort(flat, stable=True)[: int(len(flat) * discard)]
        if class_token:
            lowest = lowest[lowest % fused.shape[1] != 0]
        flat[lowest] = 0
        a = fused + torch.eye(len(fused), dtype=torch.float64)
        product = (a / a.sum(-1, keepdim=True)) @ product
    row = product[0] if class_token else product.mean(0)
    return row[-patches:]


def relevance(model, x, label):
    """arXiv:2310.02588: all patches but one and its neighbours are taken from the last block's normed input."""
    kept = []
    last = model.blocks[-1]
    handle = last.norm1.register_forward_hook(lambda _, __, out: kept.append(out))
    with torch.no_grad():
        model(x)
    handle.remove()
    normed = kept[0][0]
    height, width = model.patch_embed.grid_size
    prefix = len(normed) - height * width
    scores = []
    for row in range(height):
        for col in range(width):
            mask = torch.zeros(height + 2, width + 2, dtype=torch.float64)
            mask[row : row + 3, col : col + 3] = GAUSSIAN
            mask = torch.cat([torch.ones(prefix, dtype=torch.float64), mask[1:-1, 1:-1].flatten()])
            masked = (normed * mask[:, None])[None]
            with torch.no_grad():
                h = masked + last.drop_path1(last.ls1(last.attn(masked)))
                h = h + last.drop_path2(last.ls2(last.mlp(last.norm2(h))))
                scores.append(model.forward_head(model.norm(h))[0, label])
    return torch.stack(scores)


def write(name):
    model, x = timm_model(name)
    maps = attentions(model, x)
    with torch.no_grad():
        label = model(x).argmax().item()
    patches = model.patch_embed.num_patches
    class_token = bool(model.has_class_token) if hasattr(model, "has_class_token") else model.cls_token is not None
    golden = {f"attentions.{i}": layer for i, layer in enumerate(maps)}
    for fusion, discard in (("mean", 0.0), ("max", 0.5), ("min", 0.25)):
        golden[f"rollout.{fusion}.{discard}"] = rollout(maps[: len(model.blocks)], fusion, discard, class_token, patches)
    if model.attn_pool is None:
        golden["relevance"] = relevance(model, x, label)
        golden["class"] = torch.tensor([label])
    (HERE / "insight").mkdir(exist_ok=True)
    save_file({key: value.float().contiguous() for key, value in golden.items()}, HERE / "insight" / f"{name}.safetensors")
    print(name, [tuple(layer.shape) for layer in maps], "class", label)


if __name__ == "__main__":
    for name in ("timm_plain", "timm_registers", "timm_prenorm_avg", "timm_distilled", "timm_qk_norm", "timm_pool_map"):
        if (MODELS / name).exists():
            write(name)
