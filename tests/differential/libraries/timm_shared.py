"""What both timm modules share: reference outputs, values of options, and the files that timm's users have."""

import copy
import json
import logging
import random
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm import layers
from timm.models import vision_transformer as vit

from . import Case, Invalid

logging.getLogger("timm").setLevel(logging.ERROR)
logging.getLogger("root").setLevel(logging.ERROR)

LARGEST = 40_000
# How far f32 may be from f64, a part of what vit-gpu may be off.
ROUNDING = 3e-5
PREFIXES = ["module.", "_orig_mod.", "model.", "module._orig_mod."]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}

ACTIVATIONS = ["gelu", "gelu_tanh", "quick_gelu", "relu", "silu", "swish", "GELU", ""]
OTHER_ACTIVATIONS = ["mish", "relu6", "elu", "hard_swish", "sigmoid", "tanh", "leaky_relu", "selu", "celu", "prelu", "hard_mish", "identity"]
NORMS = ["layernorm", "LayerNorm", "layer_norm", "layernormfp32", "rmsnorm", "RmsNorm", "rms_norm", "rmsnormfp32", "simplenorm", ""]

# Classes that JSON carries by their names.
BLOCKS = {
    "Block": vit.Block,
    "ResPostBlock": vit.ResPostBlock,
    "ParallelScalingBlock": vit.ParallelScalingBlock,
    "ParallelThingsBlock": vit.ParallelThingsBlock,
    "DiffParallelScalingBlock": vit.DiffParallelScalingBlock,
}
MLPS = {name: getattr(layers, name) for name in ("Mlp", "GluMlp", "SwiGLU", "SwiGLUPacked", "GatedMlp")}
ATTENTIONS = {"Attention": layers.Attention, "DiffAttention": layers.DiffAttention}

# Options of the constructor that need no more than a value, beside the sizes.
PLAIN = {
    "mlp_ratio": [0.5, 1, 1.5, 2.0, 2.6667, 2.75, 3],
    "qkv_bias": [False, True],
    "qk_norm": [True, False],
    "scale_attn_norm": [True, False],
    "scale_mlp_norm": [True, False],
    "proj_bias": [False, True],
    "init_values": [1e-5, 0.1, 1.0, 0, 0.0],
    "class_token": [False, True],
    "pos_embed": ["learn", "none", ""],
    "no_embed_class": [True, False],
    "reg_tokens": [0, 1, 3, 4],
    "pre_norm": [True, False],
    "final_norm": [False, True],
    "fc_norm": [True, False],
    "pool_include_prefix": [True, False],
    "dynamic_img_size": [True, False],
    "dynamic_img_pad": [True, False],
    "global_pool": ["avg", "avgmax", "max", "token", "map", "avg", "map", "", "prr"],
    "norm_layer": NORMS,
    "embed_norm_layer": NORMS,
    "act_layer": [*ACTIVATIONS, *ACTIVATIONS, *OTHER_ACTIVATIONS],
    "attn_layer": ["attn", "", "diff", "Attention"],
    "in_chans": [1, 2, 4, 5],
    "drop_rate": [0.1],
    "pos_drop_rate": [0.1],
    "patch_drop_rate": [0.25],
    "proj_drop_rate": [0.1],
    "attn_drop_rate": [0.1],
    "drop_path_rate": [0.1],
    "weight_init": ["skip", "reset", "jax", "jax_nlhb", "moco", ""],
    "fix_init": [True, False],
}
CLASSES = {"block_fn": list(BLOCKS), "mlp_layer": list(MLPS)}
SIZES = {
    "img_size": [8, 12, 20, 24, 15, [8, 16], [16, 8], [24, 16], [12, 20], [9, 14]],
    "patch_size": [2, 3, 5, 8, [4, 2], [2, 4], [8, 4], [3, 4]],
    "embed_dim": [8, 12, 20, 24, 30, 32],
    "depth": [2, 3],
    "num_heads": [1, 3, 4],
    "num_classes": [0, 1, 2, 5, 7],
}
HOW = {"small": [0.004, 0.02, 0.1], "batch": [2], "dtype": ["float16", "bfloat16"], "prefix": PREFIXES}


def resolved(options: dict) -> dict:
    """The constructor's arguments, classes in place of the names of classes."""
    tables = {"block_fn": BLOCKS, "mlp_layer": MLPS, "attn_layer": ATTENTIONS}
    return {name: tables.get(name, {}).get(value, value) if isinstance(value, str) else value for name, value in options.items()}


def pixels_of(options: dict, height: int, width: int) -> torch.Tensor:
    """Values of a normalised picture, different for every seed, with few bits so that the pack stays small."""
    generator = torch.Generator().manual_seed(options["seed"] + 1)
    pixels = torch.randn((options["batch"], options.get("in_chans") or 3, height, width), generator=generator)
    return pixels.bfloat16().float()


def run(model: torch.nn.Module, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The library's own outputs, and the input of every block."""
    return conditioned(model, lambda model, pixels: outputs_of(model, pixels), pixels)


def outputs_of(model: torch.nn.Module, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    with tapped(model.blocks) as states:
        features = model.forward_features(pixels)
        outputs = {"last_hidden_state": features, "pooled": model.forward_head(features, pre_logits=True)}
        if model.num_classes > 0:
            outputs["logits"] = model.forward_head(features)
    return outputs | {f"hidden_states.{i}": state for i, state in enumerate(states)}


@contextmanager
def tapped(blocks):
    """Collects the input of every block and the output of the last."""
    states = []
    handles = [block.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0].clone())) for block in blocks]
    handles.append(blocks[-1].register_forward_hook(lambda _, __, output: states.append(output.clone())))
    with torch.no_grad():
        yield states
    for handle in handles:
        handle.remove()


def conditioned(model, run_model, pixels: torch.Tensor) -> dict[str, torch.Tensor]:
    """The outputs in f32, if f32 is exact enough for them: values that only f64 has right prove nothing."""
    outputs = run_model(model, pixels)
    exact = run_model(copy.deepcopy(model).double(), pixels.double())
    for name, value in outputs.items():
        if ((value - exact[name]).abs() > ROUNDING * (1 + exact[name].abs())).any():
            raise Invalid("f32 is not exact enough for these values")
    return outputs


def case_of(pixels: torch.Tensor, outputs: dict, extra_args: list[str] = []) -> Case:
    """A case of these outputs, which must be finite."""
    expected = {name: value.float().numpy() for name, value in outputs.items()}
    if not all(np.isfinite(value).all() for value in expected.values()):
        raise Invalid("the reference is not finite")
    return Case({"pixel_values": pixels.numpy()}, expected, extra_args)


def round_to(model: torch.nn.Module, dtype: str) -> None:
    """The values that a half-precision file holds, computed with in f32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(DTYPES[dtype]).float())


def save_weights(model: torch.nn.Module, path: Path, dtype: str, prefix: str) -> None:
    """The state dict under a prefix that wrappers leave, in a type of files."""
    state = {prefix + name: value.detach().to(DTYPES[dtype]).contiguous() for name, value in model.state_dict().items()}
    if sum(value.nbytes for value in state.values()) > LARGEST:
        raise Invalid("too large for the pack")
    save_file(state, path, metadata={"format": "pt"})


def write_json(path: Path, content: dict) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1))


def reason(options: dict) -> str | None:
    """Why vit-gpu may refuse these arguments of the constructor by design."""
    value = options.get
    norm = (value("norm_layer") or "layernorm").replace("_", "").lower()
    embed_norm = (value("embed_norm_layer") or "").replace("_", "").lower()
    if value("global_pool") in ("", "prr"):
        return f"global_pool {value('global_pool')!r}"
    if value("dynamic_img_pad"):
        return "dynamic_img_pad, where an image is not of whole patches"
    if value("attn_layer") in ("diff", "DiffAttention") or value("block_fn") == "DiffParallelScalingBlock":
        return "differential attention"
    if value("mlp_layer") == "GatedMlp":
        return "mlp_layer GatedMlp"
    if (value("act_layer") or "gelu").lower() in OTHER_ACTIVATIONS:
        return "an activation that is not run"
    if "simplenorm" in (norm, embed_norm):
        return "simplenorm"
    if embed_norm and embed_norm.removesuffix("fp32") != norm.removesuffix("fp32"):
        return "embed_norm_layer is another norm than norm_layer"
    return None


def how(rng: random.Random) -> dict:
    """Options of the test itself: how large tokens are, how many images, how the file is written."""
    options = {name: rng.choice(HOW[name]) for name in ("batch", "dtype", "prefix") if rng.random() < 0.12}
    return options | ({"small": rng.choice(HOW["small"])} if rng.random() < 0.5 else {})


def an_image_size(rng: random.Random) -> list[int]:
    """A size to run at, that is not the model's."""
    return [rng.choice([8, 12, 16, 24, 20, 15]), rng.choice([8, 12, 16, 24, 32, 13])]
