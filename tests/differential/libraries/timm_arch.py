"""Every ViT architecture name of timm, made tiny by overrides, and saved by timm's own function.

The reference is what timm makes of the saved folder, `create_model("local-dir:…", pretrained=True)`, wherever JSON can carry
the arguments.
"""

import csv
import random
from pathlib import Path

import timm
from timm.models import get_deprecated_models
from timm.models._hub import filter_pretrained_cfg

from options import draw_some

from . import Case, Invalid
from .fill import fill
from .timm_shared import CLASSES, PLAIN, SIZES, an_image_size, case_of, how, pixels_of, reason, resolved, round_to, run, save_weights, write_json

NAME = "timm-arch"
TABLE = Path(__file__).parents[3] / "src" / "model" / "architectures.csv"
KNOWN = [row["name"] for row in csv.DictReader(TABLE.open())]
# The norms of architectures themselves.
OWN_NORMS = {row["name"]: row["norm_layer"] or "layernorm" for row in csv.DictReader(TABLE.open())}
OWN_EPS = {row["name"]: row["norm_eps"] not in ("", "1e-06") for row in csv.DictReader(TABLE.open())}
TAGS = {name: [""] for name in [*KNOWN, "vit_dwee_patch16_reg1_gap_256", "vit_dlittle_patch16_reg1_gap_256"]}
for tagged in [*timm.list_models(module="vision_transformer", pretrained=True), *timm.list_models(module="deit", pretrained=True)]:
    TAGS.get(tagged.split(".")[0], []).append("." + tagged.split(".", 1)[1])
# Names that timm has given up but still reads: old files have them.
GIVEN_UP = sorted(old for module in ("vision_transformer", "deit") for old, new in get_deprecated_models(module).items() if new)

# `overlay` puts the image size into `pretrained_cfg` instead of `model_args`; `reset` and `resized` change the model
# after it was made, as fine-tuning does.
OURS = {
    "architecture": "vit_tiny_patch16_224",
    "tag": "",
    "saved": "given",
    "overlay": False,
    "reset": None,
    "resized": None,
    "run_size": None,
    "batch": 1,
    "small": 1.0,
    "dtype": "float32",
    "prefix": "",
    "seed": 0,
}
# Options of which the pack need not have every value.
FREE = {"tag", "run_size", "resized", "reset"}
MADE = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 3}
DEFAULTS = {**MADE, **{name: None for name in [*PLAIN, *CLASSES]}, **OURS}
SAVED = ["given", "given", "recorded", "old", "old"]


def draw(rng: random.Random) -> dict:
    """An architecture, a few overrides, and how the model is saved."""
    name = rng.choice(sorted(TAGS))
    options = {"architecture": name, "tag": rng.choice(TAGS[name]), "saved": rng.choice(SAVED), "seed": rng.randrange(10**6)}
    options |= draw_some(rng, PLAIN, rng.choice([0, 1, 1, 2, 3, 3, 6]))
    options |= draw_some(rng, SIZES, 2) | how(rng)
    if rng.random() < 0.06:
        options |= draw_some(rng, CLASSES, 2)
    if rng.random() < 0.08:
        options |= {"architecture": rng.choice(GIVEN_UP), "tag": "", "saved": "old"}
    if rng.random() < 0.12:
        options["overlay"] = True
    if rng.random() < 0.12:
        options |= {"reset": [rng.choice([0, 4]), rng.choice([None, "avg", "token", "max", "avgmax"])], "saved": "recorded"}
    if rng.random() < 0.08:
        options |= {"resized": an_image_size(rng), "saved": rng.choice(["given", "recorded"])}
    if rng.random() < (0.6 if options.get("dynamic_img_size") else 0.1):
        options["run_size"] = an_image_size(rng)
    return options


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and its own outputs."""
    o = {**DEFAULTS, **options}
    try:
        return made(o, folder / "model")
    except Invalid:
        raise
    except Exception as error:  # timm refuses arguments by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def made(o: dict, folder: Path) -> Case:
    case, model = case_and_model(o, folder)
    # Only now: timm itself does not read every prefix that wrappers leave.
    save_weights(model, folder / "model.safetensors", o["dtype"], o["prefix"])
    return case


def case_and_model(o: dict, folder: Path):
    """The case, and the model as it was saved."""
    if o["overlay"] and o["dynamic_img_size"]:
        raise Invalid("versions of timm differ about the size")
    arguments = {name: value for name, value in o.items() if name not in OURS and value is not None}
    model = build(o, arguments)
    round_to(fill(model, o["seed"], o["small"]), o["dtype"])
    save(model, o, arguments, folder)
    by_class = any(o[name] for name in CLASSES) or o["attn_layer"] in ("Attention", "DiffAttention")
    saved = model
    if not by_class:
        model = reloaded(folder)
    size = tuple(model.patch_embed.img_size)
    if o["run_size"] is None or tuple(o["run_size"]) == size:
        pixels = pixels_of(with_chans(o, model), *size)
        return case_of(pixels, run(model, pixels)), saved
    size, args = tuple(o["run_size"]), []
    if not model.dynamic_img_size:
        if by_class:
            raise Invalid("timm can't read the folder at another size")
        model, args = at_size(model, o, folder, size), ["--image-size", f"{size[0]}x{size[1]}"]
    pixels = pixels_of(with_chans(o, model), *size)
    return case_of(pixels, run(model, pixels), args), saved


def with_chans(o: dict, model) -> dict:
    return {**o, "in_chans": model.in_chans}


def build(o: dict, arguments: dict):
    """The model as its user made it, and changed it afterwards."""
    given, overlay = dict(arguments), None
    if o["overlay"]:
        size = given.pop("img_size")
        sides = size if isinstance(size, list) else [size, size]
        overlay = {"input_size": (o["in_chans"] or 3, *sides)}
    model = timm.create_model(o["architecture"] + o["tag"], pretrained_cfg_overlay=overlay, **resolved(given))
    if o["reset"] and o.get("global_pool") == "prr":
        raise Invalid("what prr leaves behind when it is reset is in no file")
    if o["reset"]:
        model.reset_classifier(*o["reset"])
    if o["resized"]:
        model.set_input_size(img_size=tuple(o["resized"]))
    return model


def reloaded(folder: Path, size=None):
    """What timm makes of the folder, at another size if told."""
    other = {"img_size": size} if size else {}
    return timm.create_model(f"local-dir:{folder}", pretrained=True, **other).eval()


def at_size(model, o: dict, folder: Path, size):
    """Loaded at another size; from half precision resized after loading, since timm rounds a table that it resamples before."""
    if any(part in o["architecture"] for part in ("flexi", "radio")) and o["dtype"] != "float32":
        raise Invalid("timm rounds a resampled table to the file's type")
    if o["dtype"] == "float32":
        return reloaded(folder, size)
    model.set_input_size(img_size=size)
    return model


def save(model, o: dict, arguments: dict, folder: Path) -> None:
    """The files: timm's function with arguments given or as it recorded them, or what its older versions wrote."""
    folder.mkdir(parents=True)
    stated = {name: value for name, value in arguments.items() if not (o["overlay"] or o["resized"]) or name != "img_size"}
    if o["saved"] == "old":
        write_json(folder / "config.json", old_config(model, o["architecture"], stated))
    else:
        named = {name: value for name, value in stated.items() if name in CLASSES or name == "attn_layer"}
        timm.models.save_for_hf(model, str(folder), model_args=stated if o["saved"] == "given" else named, safe_serialization=True)
    save_weights(model, folder / "model.safetensors", o["dtype"], "")


def old_config(model, architecture: str, stated: dict) -> dict:
    """What `save_for_hf` of timm 1.0.9 wrote: `model_args` as given, `pretrained_cfg` as the weights it began with had it."""
    pretrained = filter_pretrained_cfg(dict(model.pretrained_cfg), remove_source=True, remove_null=True)
    del pretrained["architecture"]
    return {
        "architecture": architecture,
        "num_classes": model.num_classes,
        "num_features": model.num_features,
        "global_pool": model.global_pool,
        "model_args": {name: value for name, value in stated.items() if name != "num_classes"},
        "pretrained_cfg": pretrained,
    }


def refusable(options: dict) -> str | None:
    """The reason for which vit-gpu may refuse these options by design."""
    if options.get("architecture", "").startswith(("vit_dwee", "vit_dlittle")):
        return "differential attention"
    if options.get("architecture") in GIVEN_UP:
        return "a name that timm has given up"
    if "radio" in options.get("architecture", "") and options.get("run_size"):
        return "RADIO's rule for positions"
    norms = {"norm_layer": OWN_NORMS.get(options.get("architecture"), "layernorm")}
    if options.get("architecture", "").startswith("aimv2"):
        norms["embed_norm_layer"] = "rmsnorm"
    if OWN_EPS.get(options.get("architecture")) and (options.get("norm_layer") is None) != (options.get("embed_norm_layer") is None):
        if options.get("embed_norm_layer") != "" and "embed_norm_layer" in {**norms, **options}:
            return "embed_norm_layer is another norm than norm_layer"
    return reason({**norms, **{name: value for name, value in options.items() if value is not None}})
