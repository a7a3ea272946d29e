"""timm's `VisionTransformer` and `VisionTransformerDistilled`, built directly with any of their arguments."""

import copy
import random
from functools import partial
from pathlib import Path

import timm
from timm import layers
from timm.models import build_model_with_cfg, register_model
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from options import draw_some

from . import Case, Invalid
from .fill import fill
from .timm_shared import CLASSES, PLAIN, SIZES, an_image_size, case_of, how, pixels_of, reason, resolved, round_to, run, save_weights, write_json

NAME = "timm-class"

# Options that are no arguments of the constructor.
OURS = {
    "class": "VisionTransformer",
    "saved": "by hand",
    "run_size": None,
    "eps": None,
    "branches": None,
    "fuse_out_proj": False,
    "batch": 1,
    "small": 1.0,
    "dtype": "float32",
    "prefix": "",
    "seed": 0,
}
# Options of which the pack need not have every value.
FREE = {"run_size"}
MADE = {"img_size": 16, "patch_size": 4, "in_chans": 3, "num_classes": 3, "embed_dim": 16, "depth": 1, "num_heads": 2, "mlp_ratio": 4.0}
UNSET = {name: None for name in [*PLAIN, *CLASSES, "embed_layer"] if name not in MADE}
DEFAULTS = {**MADE, **UNSET, **OURS}

# What tensors show, so that people leave it out: the files of classes of their own.
SHOWN = ["embed_dim", "depth", "patch_size", "in_chans", "num_classes", "mlp_ratio", "qkv_bias", "qk_norm", "scale_attn_norm", "scale_mlp_norm"]
SHOWN += ["proj_bias", "init_values", "class_token", "reg_tokens", "pre_norm", "fc_norm", "final_norm", "no_embed_class"]
OWN_FIELDS = ["img_size", "num_heads", "global_pool", "act_layer", "eps"]
SAVED = ["by hand", "by hand", "hub", "hub", "least", "own", "no root pool"]


@register_model
def vit_mine(pretrained=False, **kwargs):
    """An architecture that a user of timm registers."""
    return build_model_with_cfg(VisionTransformer, "vit_mine", pretrained, **kwargs)


@register_model
def vit_mine_distilled(pretrained=False, **kwargs):
    """Another one."""
    return build_model_with_cfg(VisionTransformerDistilled, "vit_mine_distilled", pretrained, **kwargs)


def draw(rng: random.Random) -> dict:
    """Some arguments of the constructor, and how the model is saved."""
    options = draw_some(rng, {**PLAIN, **CLASSES, "embed_layer": ["PatchEmbed"]})
    options |= draw_some(rng, SIZES, 3) | how(rng)
    options |= {"saved": rng.choice(SAVED), "seed": rng.randrange(10**6)}
    if options["saved"] == "own":
        options = {name: value for name, value in options.items() if told(name, value)}
        options |= {"eps": rng.choice([1e-5, 1e-3, 1e-12])} if rng.random() < 0.4 else {}
    if rng.random() < 0.08:
        options["class"] = "VisionTransformerDistilled"
    if options.get("block_fn") == "ParallelThingsBlock" and rng.random() < 0.5:
        options["branches"] = 3
    if options.get("block_fn") == "ParallelScalingBlock" and rng.random() < 0.1:
        options["fuse_out_proj"] = True
    if rng.random() < (0.6 if options.get("dynamic_img_size") else 0.08):
        options["run_size"] = an_image_size(rng)
    return options


def told(name: str, value) -> bool:
    """Whether a class of one's own can say so, or tensors show it."""
    if name in OURS or name in SHOWN or name in OWN_FIELDS:
        return name != "global_pool" or value in ("token", "avg")
    return name == "norm_layer" and value != "simplenorm" or name.endswith("_rate")


def arguments_of(options: dict) -> dict:
    """The constructor's arguments, as JSON has them: those that are set."""
    return {name: value for name, value in {**MADE, **options}.items() if name not in OURS and value is not None}


def build(o: dict, arguments: dict):
    """The model, by its class, or by timm's factory where it is saved by timm."""
    arguments = resolved(arguments)
    if arguments.pop("embed_layer", None):
        arguments["embed_layer"] = layers.PatchEmbed
    if o["branches"]:
        arguments["block_fn"] = partial(arguments["block_fn"], num_parallel=o["branches"])
    if o["fuse_out_proj"]:
        arguments["block_fn"] = partial(arguments["block_fn"], fuse_out_proj=True)
    if o["eps"]:
        arguments["norm_layer"] = partial(layers.get_norm_layer(arguments.get("norm_layer")) or layers.LayerNorm, eps=o["eps"])
    if o["saved"] == "hub":
        return timm.create_model(architecture(o), **arguments)
    return (VisionTransformerDistilled if distilled(o) else VisionTransformer)(**arguments)


def distilled(o: dict) -> bool:
    return o["class"] == "VisionTransformerDistilled"


def architecture(o: dict) -> str:
    return "vit_mine_distilled" if distilled(o) else "vit_mine"


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and its own outputs."""
    o = {**DEFAULTS, **options}
    try:
        return made(o, arguments_of(options), folder / "model")
    except Invalid:
        raise
    except Exception as error:  # timm refuses arguments by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def made(o: dict, arguments: dict, folder: Path) -> Case:
    model = fill(build(o, arguments), o["seed"], o["small"])
    round_to(model, o["dtype"])
    save(model, o, arguments, folder)
    size = model.patch_embed.img_size
    args = []
    if o["run_size"] and tuple(o["run_size"]) != size:
        size = tuple(o["run_size"])
        if not o["dynamic_img_size"]:
            model = resized(model, size)
            args = ["--image-size", f"{size[0]}x{size[1]}"]
    pixels = pixels_of(o, *size)
    return case_of(pixels, run(model, pixels), args)


def resized(model, size):
    """The model at another size, by timm's own rule, without a change to the saved one."""
    model = copy.deepcopy(model)
    model.set_input_size(img_size=size)
    return model


def save(model, o: dict, arguments: dict, folder: Path) -> None:
    """The files: by timm's own function, or written by hand as people do."""
    folder.mkdir(parents=True)
    named = {name: value for name, value in arguments.items() if isinstance(value, str) or name in ("block_fn", "mlp_layer")}
    if o["saved"] == "hub":
        timm.models.save_for_hf(model, str(folder), model_args=named, safe_serialization=True)
    else:
        write_json(folder / "config.json", config(model, o, arguments))
    save_weights(model, folder / "model.safetensors", o["dtype"], o["prefix"])
    for other in folder.glob("*.bin"):
        other.unlink()


def config(model, o: dict, arguments: dict) -> dict:
    """A configuration by hand."""
    if o["saved"] == "own":
        return own_config(model, o, arguments)
    shown = {name: value for name, value in arguments.items() if name != "num_classes" and (o["saved"] != "least" or name not in SHOWN)}
    height, width = model.patch_embed.img_size
    written = {
        "architecture": "vit_custom",
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": model.global_pool,
        "model_args": shown,
        "pretrained_cfg": {"input_size": [model.in_chans, height, width], "crop_pct": 0.9, "interpolation": "bicubic"},
    }
    if o["saved"] == "no root pool":
        del written["global_pool"]
    return written


def own_config(model, o: dict, arguments: dict) -> dict:
    """As docs/your-own-vit.md has it, for a class of one's own."""
    written = {"model_type": "vit_gpu", "family": "timm", "num_heads": arguments["num_heads"], "img_size": arguments["img_size"]}
    if arguments.get("act_layer"):
        written["act"] = arguments["act_layer"].lower()
    if arguments.get("global_pool") or arguments.get("fc_norm"):
        written["global_pool"] = arguments.get("global_pool", "token")
    if o["eps"]:
        written["eps"] = o["eps"]
    return written


def refusable(options: dict) -> str | None:
    """The reason for which vit-gpu may refuse these options by design."""
    if options.get("fuse_out_proj"):
        return "fuse_out_proj"
    if options.get("saved") in ("own", "least") and options.get("final_norm") is False:
        return "the configuration leaves final_norm out"
    return reason(options)
