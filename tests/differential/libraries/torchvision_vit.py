"""torchvision's `VisionTransformer`, and classes of one's own with its tensor names, as docs/your-own-vit.md has them."""

import random
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.vision_transformer import ConvStemConfig, VisionTransformer, interpolate_embeddings

from options import draw_some

from . import Case, Invalid
from .fill import fill
from .timm_shared import DTYPES, LARGEST, case_of, conditioned, how, pixels_of, round_to, tapped, write_json

NAME = "torchvision"
DEFAULTS = {
    "image_size": 16,
    "patch_size": 4,
    "num_layers": 1,
    "num_heads": 2,
    "hidden_dim": 16,
    "mlp_dim": 32,
    "num_classes": 3,
    "representation_size": None,
    "norm": "LayerNorm",
    "eps": 1e-6,
    "dropout": 0.0,
    "conv_stem": False,
    "head": "heads.head",
    "old_names": False,
    "act": "gelu",
    "global_pool": "token",
    "config": "own",
    "size_key": "img_size",
    "run_size": None,
    "batch": 1,
    "small": 1.0,
    "dtype": "float32",
    "prefix": "",
    "seed": 0,
}
VALUES = {
    "image_size": [8, 12, 20, 24, 32, [8, 16], [20, 12], [4, 16]],
    "patch_size": [2, 8, 3, 5, [4, 2], [2, 4]],
    "num_layers": [2, 3],
    "num_heads": [1, 4, 8],
    "hidden_dim": [8, 24, 32, 40],
    "mlp_dim": [8, 16, 48, 20],
    "num_classes": [1, 2, 5, 7],
    "representation_size": [8, 16, 24],
    "norm": ["RMSNorm"],
    "eps": [1e-5, 1e-12, 1e-3],
    "dropout": [0.1],
    "conv_stem": [True],
    "head": ["heads", "heads.0", "none"],
    "old_names": [True],
    "act": ["relu", "gelu_tanh", "quick_gelu", "silu"],
    "global_pool": ["avg"],
    "config": ["num_heads", "num_heads", "num_heads", "none"],
    "size_key": ["image_size"],
    "run_size": [8, 12, 24, 32],
}
RARE = ["norm", "conv_stem", "head"]


class QuickGELU(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(1.702 * x)


ACTS = {"gelu": nn.GELU, "relu": nn.ReLU, "silu": nn.SiLU, "quick_gelu": QuickGELU, "gelu_tanh": partial(nn.GELU, approximate="tanh")}


def draw(rng: random.Random) -> dict:
    """Some options, those that are refused by design seldom."""
    rare = RARE if rng.random() < 0.15 else []
    values = {name: list_ for name, list_ in VALUES.items() if name not in RARE or name in rare}
    options = draw_some(rng, values) | how(rng) | {"seed": rng.randrange(10**6)}
    return options


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and its own outputs."""
    o = {**DEFAULTS, **options}
    untold = {"own": [], "num_heads": ["eps", "act", "global_pool"], "none": ["eps", "act", "global_pool"]}[o["config"]]
    if any(o[name] != DEFAULTS[name] for name in untold):
        raise Invalid("the configuration can't say so")
    if o["config"] != "own" and isinstance(o["image_size"], list):
        raise Invalid("torchvision's images are squares")
    try:
        return made(o, folder / "model")
    except Invalid:
        raise
    except Exception as error:  # torchvision refuses arguments by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def made(o: dict, folder: Path) -> Case:
    model = round_all(fill(build(o), o["seed"], o["small"]), o["dtype"])
    save(model, o, folder)
    height, width = pair(o["image_size"])
    args = []
    if o["run_size"] and [o["run_size"]] * 2 != [height, width]:
        if height != width or not isinstance(o["patch_size"], int) or o["run_size"] % o["patch_size"]:
            raise Invalid("torchvision resamples square tables alone")
        table = interpolate_embeddings(o["run_size"], o["patch_size"], model.state_dict())["encoder.pos_embedding"]
        model.encoder.pos_embedding = nn.Parameter(table)
        height = width = o["run_size"]
        args = ["--image-size", str(height)]
    pixels = pixels_of(o, height, width)
    return case_of(pixels, conditioned(model, lambda model, x: run(model, x, o["global_pool"]), pixels), args)


def pair(value) -> tuple[int, int]:
    return tuple(value) if isinstance(value, list) else (value, value)


def round_all(model, dtype: str):
    round_to(model, dtype)
    return model


def build(o: dict):
    """The model; a class of one's own where torchvision has no such option."""
    (height, width), (patch_h, patch_w) = pair(o["image_size"]), pair(o["patch_size"])
    if height % patch_h or width % patch_w:
        raise Invalid("Input shape indivisible by patch size!")
    stem = [ConvStemConfig(8, 3, 2)] * 2 if o["conv_stem"] else None
    norm = partial(nn.LayerNorm if o["norm"] == "LayerNorm" else nn.RMSNorm, eps=o["eps"])
    sizes = [o["num_layers"], o["num_heads"], o["hidden_dim"], o["mlp_dim"]]
    others = {"num_classes": o["num_classes"], "representation_size": o["representation_size"], "norm_layer": norm}
    model = VisionTransformer(16, 4, *sizes, o["dropout"], o["dropout"], conv_stem_configs=stem, **others)
    if not o["conv_stem"]:
        model.conv_proj = nn.Conv2d(3, o["hidden_dim"], (patch_h, patch_w), (patch_h, patch_w))
    tokens = (height // patch_h) * (width // patch_w) + 1
    model.encoder.pos_embedding = nn.Parameter(torch.empty(1, tokens, o["hidden_dim"]))
    for layer in model.encoder.layers:
        layer.mlp[1] = ACTS[o["act"]]()
    if o["head"] != "heads.head":
        linear = nn.Linear(o["hidden_dim"], o["num_classes"])
        model.heads = {"heads": linear, "heads.0": nn.Sequential(linear), "none": nn.Identity()}[o["head"]]
    return model


def run(model, pixels: torch.Tensor, pool: str) -> dict[str, torch.Tensor]:
    """The steps of torchvision's `forward`, with the input of every block and what the head is given."""
    with tapped(model.encoder.layers) as states:
        tokens = model.conv_proj(pixels).flatten(2).transpose(1, 2)
        hidden = model.encoder(torch.cat([model.class_token.expand(len(pixels), -1, -1), tokens], dim=1))
        pooled = hidden[:, 0] if pool == "token" else hidden[:, 1:].mean(1)
        layers = list(model.heads) if isinstance(model.heads, nn.Sequential) else [model.heads]
        for layer in layers[:-1]:
            pooled = layer(pooled)
        outputs = {"last_hidden_state": hidden, "pooled": pooled}
        if not isinstance(layers[-1], nn.Identity):
            outputs["logits"] = layers[-1](pooled)
    return outputs | {f"hidden_states.{i}": state for i, state in enumerate(states)}


def save(model, o: dict, folder: Path) -> None:
    """The state dict, under the MLP's names of either version, and the configuration."""
    state = {o["prefix"] + name: value.detach().contiguous() for name, value in model.state_dict().items()}
    state = {name: value.to(DTYPES[o["dtype"]]) if value.is_floating_point() else value for name, value in state.items()}
    if o["old_names"]:
        state = {name.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value for name, value in state.items()}
    if sum(value.nbytes for value in state.values()) > LARGEST:
        raise Invalid("too large for the pack")
    folder.mkdir(parents=True)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    if o["config"] == "num_heads":
        write_json(folder / "config.json", {"num_heads": o["num_heads"]})
    elif o["config"] == "own":
        write_json(folder / "config.json", own_config(o))


def own_config(o: dict) -> dict:
    """Every field that the documentation has for this family; those at their default are left out."""
    written = {"model_type": "vit_gpu", "family": "torchvision", "num_heads": o["num_heads"], o["size_key"]: o["image_size"]}
    return written | {name: o[name] for name in ("eps", "act", "global_pool") if o[name] != DEFAULTS[name]}


def refusable(options: dict) -> str | None:
    """The reason for which vit-gpu may refuse these options by design."""
    if options.get("conv_stem"):
        return "a stem of several convolutions"
    if options.get("norm", "LayerNorm") != "LayerNorm":
        return "RMSNorm"
    if options.get("config") == "none":
        return "heads are not told"
    if options.get("config") in ("none", "num_heads") and isinstance(options.get("patch_size"), list):
        return "the image size is not told"
    if options.get("head", "heads.head") != "heads.head":
        return "a head under a name of one's own"
    return None
