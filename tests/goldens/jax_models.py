"""Google's .npz files, made from a timm model's weights and read back by timm's own loader."""

import numpy as np
import timm
import torch
from timm.models.vision_transformer import VisionTransformer, _load_weights

from common import MODELS, pixels, tap, write
from meta_models import CLASSES, HEADS, HIDDEN, PATCH, WIDTH, differs, trained

SIZES = dict(img_size=16, patch_size=PATCH, embed_dim=WIDTH, num_heads=HEADS, depth=2, mlp_ratio=HIDDEN / WIDTH)


def norm(w, name):
    return {"scale": w[f"{name}.weight"], "bias": w[f"{name}.bias"]}


def dense(w, name):
    return {"kernel": w[f"{name}.weight"].T, "bias": w[f"{name}.bias"]}


def attention(q, k, v, out):
    """Heads have their own axis: [D, H, dh] of the inputs, [H, dh, D] of the output."""
    split = lambda weight, bias: {"kernel": weight.T.reshape(WIDTH, HEADS, -1), "bias": bias.reshape(HEADS, -1)}
    return {"query": split(*q), "key": split(*k), "value": split(*v), "out": {"kernel": out[0].T.reshape(HEADS, -1, WIDTH), "bias": out[1]}}


def block(w, i, numbers):
    """`numbers` are Flax's of the attention, the second norm and the MLP, which count all modules or those of a kind."""
    name, (attn, second, mlp) = f"blocks.{i}", numbers
    qkv = list(zip(np.split(w[f"{name}.attn.qkv.weight"], 3), np.split(w[f"{name}.attn.qkv.bias"], 3)))
    return {
        "LayerNorm_0": norm(w, f"{name}.norm1"),
        f"MultiHeadDotProductAttention_{attn}": attention(*qkv, (w[f"{name}.attn.proj.weight"], w[f"{name}.attn.proj.bias"])),
        f"LayerNorm_{second}": norm(w, f"{name}.norm2"),
        f"MlpBlock_{mlp}": {"Dense_0": dense(w, f"{name}.mlp.fc1"), "Dense_1": dense(w, f"{name}.mlp.fc2")},
    }


def map_head(w):
    part = lambda name: (w[f"attn_pool.{name}.weight"], w[f"attn_pool.{name}.bias"])
    kv = list(zip(np.split(part("kv")[0], 2), np.split(part("kv")[1], 2)))
    mlp = {"Dense_0": dense(w, "attn_pool.mlp.fc1"), "Dense_1": dense(w, "attn_pool.mlp.fc2")}
    attend = attention(part("q"), *kv, part("proj"))
    return {"probe": w["attn_pool.latent"], "MultiHeadDotProductAttention_0": attend, "LayerNorm_0": norm(w, "attn_pool.norm"), "MlpBlock_0": mlp}


def tree(w, big_vision, stacked):
    blocks = [block(w, i, (0, 1, 0) if big_vision else (1, 2, 3)) for i in range(SIZES["depth"])]
    encoder = {"encoder_norm": norm(w, "norm")}
    if stacked:
        each = [flat(one) for one in blocks]
        encoder["encoderblock"] = {key: np.stack([one[key] for one in each]) for key in each[0]}
    else:
        encoder.update({f"encoderblock_{i}": one for i, one in enumerate(blocks)})
    out = {"Transformer": encoder, "embedding": {"kernel": w["patch_embed.proj.weight"].transpose(2, 3, 1, 0), "bias": w["patch_embed.proj.bias"]}}
    if big_vision:
        out["pos_embedding"] = w["pos_embed"]
    else:
        encoder["posembed_input"] = {"pos_embedding": w["pos_embed"]}
    if "cls_token" in w:
        out["cls"] = w["cls_token"]
    if "attn_pool.latent" in w:
        out["MAPHead_0"] = map_head(w)
    out.update({name: dense(w, name) for name in ("pre_logits", "head") if f"{name}.weight" in w})
    return out


def flat(node, prefix=""):
    if not isinstance(node, dict):
        return {prefix.removesuffix("/"): node}
    return {key: value for name, child in node.items() for key, value in flat(child, f"{prefix}{name}/").items()}


def jax_case(name, seed, args, prefix="", big_vision=False, stacked=False, compressed=False, representation=None, others=None, act=None):
    model = VisionTransformer(**SIZES, **args, **({"act_layer": act} if act else {})).eval()
    shapes = {key: tuple(parameter.shape) for key, parameter in model.named_parameters()}
    if representation:
        shapes.update({"pre_logits.weight": (representation, WIDTH), "pre_logits.bias": (representation,), "head.weight": (CLASSES, representation), "head.bias": (CLASSES,)})
    values = trained(shapes, seed, torch.float16 if compressed else torch.float32)
    for key in shapes:
        # The two GELUs part most near -2; what comes of it is enlarged.
        if key.endswith("fc1.bias"):
            values[key] -= 2
        elif key.endswith(("fc2.weight", "latent")):
            values[key] *= 8
    kept = {key: values[key] for key in model.state_dict()}
    model.load_state_dict(kept)
    x = pixels(name, 16, 16)
    features, states = tap(model.blocks, lambda: model.forward_features(x))
    with torch.no_grad():
        pooled = model.forward_head(features, pre_logits=True)
        if representation:
            pooled = torch.tanh(torch.nn.functional.linear(pooled, values["pre_logits.weight"], values["pre_logits.bias"]))
        outputs = {"last_hidden_state": features, "pooled": pooled}
        if "head.weight" in values:
            outputs["logits"] = torch.nn.functional.linear(pooled, values["head.weight"], values["head.bias"])
    write(name, None, {}, {"act": act} if act else {}, x, outputs, states)
    (MODELS / name / "model.safetensors").unlink()
    arrays = {prefix + key: value for key, value in flat(tree({key: value.numpy() for key, value in values.items()}, big_vision, stacked)).items()}
    if not compressed:
        # Else the transposes stay views, which NumPy writes in Fortran's order and says so.
        arrays = {key: np.ascontiguousarray(value) for key, value in arrays.items()}
    (np.savez_compressed if compressed else np.savez)(MODELS / name / "vit.npz", **arrays, **(others or {}))
    again = VisionTransformer(**SIZES, **args).eval()
    _load_weights(again, str(MODELS / name / "vit.npz"))
    for key, value in again.state_dict().items():
        assert torch.equal(value, kept[key]), key
    mistake = VisionTransformer(**SIZES, **args, act_layer="gelu" if act else "gelu_tanh").eval()
    mistake.load_state_dict(kept)
    with torch.no_grad():
        differs(model(x), mistake(x))


def write_all():
    token, none = {"num_classes": CLASSES}, {"class_token": False, "fc_norm": False}
    jax_case("jax_vit", 61, token)
    jax_case("jax_vit_compressed", 62, token, prefix="opt/target/", compressed=True, others={"opt/state/step": np.int32(7)})
    txt = {"params/txt/Embed_0/embedding": np.ones((3, 5), np.float32), "params/t": np.ones(1, np.float32), "params/b": np.ones(1, np.float32)}
    jax_case("jax_big_vision_map", 63, {**none, "global_pool": "map", "num_classes": 0}, prefix="params/img/", big_vision=True, others=txt, act="gelu_tanh", compressed=True)
    jax_case("jax_big_vision_stacked", 64, {**none, "global_pool": "avg", **token}, prefix="params/", big_vision=True, stacked=True, compressed=True)
    jax_case("jax_vit_pre_logits", 65, {"num_classes": 0}, representation=40, compressed=True)
