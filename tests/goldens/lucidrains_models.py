"""lucidrains' vit-pytorch, by the package itself: one version for each change of its names, shapes or arithmetic.

The versions cannot share an environment: each is installed, without what it depends on, in a folder of its own.
"""

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from einops import rearrange

from common import fill, pixels, round_to, write
from meta_models import differs

VERSIONS = Path(tempfile.gettempdir()) / "luc"
SIZES = dict(image_size=12, patch_size=4, num_classes=6, dim=32, depth=2, heads=2, mlp_dim=48)

# As common.GELUS: into the GELUs what the erf and the tanh form differ on most, and more out of them.
IN, OUT = ("fn.net.0", "net.1"), ("net.2", "net.3", "net.4")
GELUS = {f"{name}.weight": (0.3, 0.0) for name in IN} | {f"{name}.bias": (1.0, -2.3) for name in IN} | {f"{name}.weight": (8.0, 0.0) for name in OUT}
# Since 1.0 a norm gives the tokens: small ones, for the eps of the next to show.
SMALL_TOKENS = {"to_patch_embedding.3.weight": (0.02, 0.0), "to_patch_embedding.3.bias": (0.5, 0.0)}


def package(version, file):
    folder = VERSIONS / version
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), f"vit-pytorch=={version}"]
        subprocess.run(command, check=True)
    spec = importlib.util.spec_from_file_location(f"vit_pytorch_{version}", folder / "vit_pytorch" / f"{file}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sincos(height, width, dim, last=1):
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    omega = 1 / 10000 ** (torch.arange(dim // 4) / (dim // 4 - last))
    y, x = y.flatten()[:, None] * omega, x.flatten()[:, None] * omega
    return torch.cat((x.sin(), x.cos(), y.sin(), y.cos()), dim=1)


def reference(w, x, heads, patch, mean, width_scale, eps=1e-5, gelu="none", patches="(y x c)", rows="(h d)", grid="(h w)", skip=None, wrong_cls=False, last_norm=True, positions=sincos):
    """Every version's logits, from the names in their order: an embedding, an MLP or a head is norms and linear layers, a
    GELU before each linear layer that follows another. The options after `width_scale` are the mistakes to tell apart."""

    def names(prefix):
        return [key.removesuffix(".weight") for key in w if key.startswith(prefix) and key.endswith(".weight")]

    def apply(found, value):
        was_linear = False
        for name in found:
            weight, bias = w[f"{name}.weight"], w.get(f"{name}.bias")
            if weight.ndim == 1:
                value = F.layer_norm(value, weight.shape, weight, bias, eps)
            else:
                value = F.linear(F.gelu(value, approximate=gelu) if was_linear else value, weight, bias)
            was_linear = weight.ndim == 2
        return value

    high, wide = x.shape[2] // patch[0], x.shape[3] // patch[1]
    tokens = rearrange(x, f"b c (h y) (w x) -> b {grid} {patches}", y=patch[0], x=patch[1])
    tokens = apply(names("to_patch_embedding") or names("patch_to_embedding"), tokens)
    if "cls_token" in w:
        cls = w["cls_token"].reshape(1, -1, tokens.shape[2]).expand(len(x), -1, -1)
        table = w["pos_embedding"].reshape(1, -1, tokens.shape[2])
        tokens = torch.cat([tokens, cls] if wrong_cls else [cls, tokens], dim=1) + table
    else:
        tokens = tokens + positions(high, wide, tokens.shape[2])
    i = 0
    while found := names(f"transformer.layers.{i}.0."):
        q, k, v = (rearrange(part, f"b n {rows} -> b h n d", h=heads) for part in apply(found[:2], tokens).chunk(3, dim=-1))
        scale = (tokens if width_scale else q).shape[-1] ** -0.5
        mixed = rearrange((q @ k.transpose(2, 3) * scale).softmax(-1) @ v, "b h n d -> b n (h d)")
        tokens = tokens + apply(found[2:], mixed)
        tokens = tokens + apply(names(f"transformer.layers.{i}.1."), tokens)
        i += 1
    tokens = apply(names("transformer.norm") if last_norm else [], tokens)
    pooled = tokens[:, skip or 0 :].mean(1) if mean else tokens[:, 0]
    return apply(names("mlp_head") or names("linear_head"), pooled)


def case(name, seed, version, file="vit", config={}, small=0.02, adjust={}, eps_shows=True, **more):
    args = {**SIZES, **more}
    module = package(version, file)
    simple = file == "simple_vit"
    model = (module.SimpleViT if simple else module.ViT)(**args)
    fill(model, seed, small, {**GELUS, **adjust})
    round_to(model, torch.float16)
    pair = lambda size: size if isinstance(size, tuple) else (size, size)
    x = pixels(name, *pair(args["image_size"]))

    states, handles, pooled, last = [], [], [], []
    keep = lambda into: lambda _, inputs: into.append(inputs[0].clone())
    transformer, head = model.transformer, model.linear_head if simple else model.mlp_head
    for layer in transformer.layers:
        handles.append(layer[0].register_forward_pre_hook(keep(states)))
    normed = hasattr(transformer, "norm")
    if normed:
        handles.append(transformer.norm.register_forward_pre_hook(keep(states)))
    handles.append(transformer.register_forward_hook(lambda _, __, output: last.append(output.clone())))
    final = head if isinstance(head, torch.nn.Linear) else head[-1]
    handles.append(final.register_forward_pre_hook(keep(pooled)))
    with torch.no_grad():
        logits = model(x)
    for handle in handles:
        handle.remove()
    states += [] if normed else [last[0].clone()]
    assert len(states) == args["depth"] + 1
    for before, after in zip(states, states[1:]):
        assert (after - before).norm() > 0.1 * before.norm(), "a block adds too little to be noticed"

    state = model.state_dict()
    mean = simple or more.get("pool") == "mean"
    old = tuple(int(part) for part in version.split(".")) < (0, 6, 7)
    run = lambda **mistake: reference(**{**dict(w=state, x=x, heads=args["heads"], patch=pair(args["patch_size"]), mean=mean, width_scale=old), **mistake})
    assert torch.allclose(run(), logits, atol=1e-4 * logits.abs().max()), "the reference is not what the package computes"
    mistakes = [dict(gelu="tanh"), dict(patches="(c y x)"), dict(mean=not mean)]
    mistakes += [dict(width_scale=not old)] if more.get("dim_head") != args["dim"] else []
    mistakes += [dict(eps=1e-6)] if eps_shows else []
    mistakes += [dict(rows="(d h)")] if args["heads"] > 1 else []
    mistakes += [dict(last_norm=False)] if normed else []
    mistakes += [dict(grid="(w h)")]
    if simple:
        y_first = lambda height, width, dim: sincos(height, width, dim).roll(dim // 2, 1)
        mistakes += [dict(positions=y_first), dict(positions=lambda *sizes: sincos(*sizes, last=0))]
    elif state["cls_token"].numel():
        mistakes += [dict(wrong_cls=True)] + ([dict(skip=1)] if mean else [])
    if pair(args["patch_size"])[0] != pair(args["patch_size"])[1]:
        # A square patch of as many pixels, which gives as many patches.
        side = round((args["patch_size"][0] * args["patch_size"][1]) ** 0.5)
        mistakes += [dict(patch=(side, side)), dict(patch=args["patch_size"][::-1], x=x.transpose(2, 3)), dict(patches="(x y c)")]
    differs(logits, *(run(**mistake) for mistake in mistakes))

    config = {"model_type": "vit_gpu", "family": "lucidrains", "num_heads": args["heads"], **config}
    outputs = {"last_hidden_state": last[0], "pooled": pooled[0], "logits": logits}
    write(name, model, state, config, x, outputs, states, dtype=torch.float16)


def write_all():
    # Until 0.6.8 the image is square and the grid, from 0.2.3 to 0.7.0, of more than 16 patches.
    versioned = lambda version, file="vit_pytorch", **config: dict(version=version, file=file, config={"version": version, **config})
    case("luc_0_1", 201, **versioned("0.1.0"), depth=1)
    case("luc_0_2_0", 202, **versioned("0.2.0"), depth=1)
    case("luc_0_2", 203, **versioned("0.2.7"), patch_size=2, image_size=10)
    case("luc_0_6_6", 204, **versioned("0.6.6"), patch_size=2, image_size=10, dim_head=24)
    case("luc_0_6_8", 205, **versioned("0.6.8"), patch_size=2, image_size=10, dim_head=24)
    case("luc_0_7", 206, "0.8.0", "vit_pytorch", dim_head=16)
    case("luc_0_10", 207, "0.10.1", dim_head=16)
    odd = dict(image_size=(8, 24), patch_size=(2, 8))
    case("luc_0_24_mean", 208, "0.24.3", config={"img_size": [8, 24], "patch_size": [2, 8], "global_pool": "avg"}, pool="mean", dim_head=24, **odd)

    wide = dict(config={"img_size": [12, 16]}, image_size=(12, 16))
    vit = dict(**wide, adjust=SMALL_TOKENS)
    case("luc_1_2", 209, "1.2.9", dim_head=16, **vit)
    case("luc_1_5", 210, "1.5.3", dim_head=24, **vit)
    case("luc_1_5_one_head", 211, "1.5.3", heads=1, dim_head=32, adjust=SMALL_TOKENS)
    case("luc_1_16_mean", 212, "1.16.0", pool="mean", dim_head=16, **vit)
    case("luc_1_17", 213, "1.26.11", dim_head=16, **vit)
    case("luc_1_17_mean", 214, "1.26.11", pool="mean", dim_head=16, adjust=SMALL_TOKENS)

    # The fixed positions are of size 1 and the patches must be as large: no eps shows but in the norms of a patch.
    case("simple_vit_old", 215, "0.40.2", dim_head=16, small=1.0, eps_shows=False, file="simple_vit", **wide)
    case("simple_vit_1_2", 216, "1.2.9", file="simple_vit", dim_head=16, depth=1, **wide)
    case("simple_vit", 217, "1.26.11", file="simple_vit", dim_head=24, **wide)
