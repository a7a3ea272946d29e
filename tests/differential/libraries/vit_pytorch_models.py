"""lucidrains' vit-pytorch of several versions, other classes of that package, and the models of tutorials."""

import importlib.util
import inspect
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

import torch
from safetensors.torch import save_file

from . import Case, Invalid
from .fill import fill
from .huggingface_reference import DTYPES, LARGEST, as_case, pixels_of, round_to

sys.path.append(str(Path(__file__).parents[2] / "goldens"))
import teaching_models

NAME = "vit-pytorch"
VERSIONS = Path(tempfile.gettempdir()) / "luc"
LATEST = "1.26.11"
SIMPLE = ["0.40.2", "1.2.9", "1.5.3", "1.16.0", LATEST]
PLAIN = ["0.2.7", "0.6.8", "0.24.3", *SIMPLE]

# The other classes of the package that take the same arguments: run right or refused.
OTHERS = {
    "deepvit": "DeepViT",
    "learnable_memory_vit": "ViT",
    "local_vit": "LocalViT",
    "normalized_vit": "nViT",
    "parallel_vit": "ViT",
    "rvt": "RvT",
    "simple_flash_attn_vit": "SimpleViT",
    "simple_uvit": "SimpleUViT",
    "simple_vit_orthog_residual_update": "SimpleViT",
    "simple_vit_with_fft": "SimpleViT",
    "simple_vit_with_hyper_connections": "SimpleViT",
    "simple_vit_with_patch_dropout": "SimpleViT",
    "simple_vit_with_qk_norm": "SimpleViT",
    "simple_vit_with_register_tokens": "SimpleViT",
    "simple_vit_with_relative_proj_pos_bias": "SimpleViT",
    "simple_vit_with_specialized_cls": "SimpleViT",
    "simple_vit_with_value_residual": "SimpleViT",
    "vit_5": "ViT",
    "vit_for_small_dataset": "ViT",
    "vit_with_decorr": "ViT",
    "vit_with_keel_post_ln": "ViT",
    "vit_with_patch_dropout": "ViT",
    "vit_with_patch_merger": "ViT",
    "distill": "DistillableViT",
}
TUTORIALS = ["patchlayer", "zuppichini fused", "zuppichini readme", "zuppichini notebook", "torch_encoder", "per_head"]

DEFAULTS = {
    "model": "ViT",
    "version": LATEST,
    "image_size": 12,
    "patch_size": 4,
    "num_classes": 3,
    "dim": 16,
    "depth": 2,
    "heads": 2,
    "mlp_dim": 24,
    "channels": 3,
    "dim_head": 8,
    "pool": "cls",
    "emb_dropout": 0.0,
    "batch_first": True,
    "norm_first": False,
    "act": "relu",
    "told": "all",
    "batch": 1,
    "dtype": "float32",
    "small": 1.0,
    "seed": 0,
}
VALUES = {
    "version": PLAIN,
    "image_size": [8, 20, 24, [8, 12], [12, 8], [8, 32], [24, 16]],
    "patch_size": [2, 4, [4, 2], [2, 4], [3, 4]],
    "num_classes": [0, 1, 2, 7],
    "dim": [8, 24, 32],
    "depth": [1, 3],
    "heads": [1, 3, 4],
    "mlp_dim": [8, 16, 40],
    "channels": [1, 2, 4],
    "dim_head": [4, 16, 24, 5],
    "pool": ["mean", "cls"],
    "emb_dropout": [0.5],
    "batch_first": [False],
    "norm_first": [True],
    "act": ["relu", "gelu"],
    "told": ["least", "dim_head"],
    "batch": [2],
    "dtype": ["float16", "bfloat16"],
    "small": [0.004, 0.02],
}
HOW = ["told", "batch", "dtype", "small"]
OWN = ["version", "image_size", "patch_size", "num_classes", "dim", "depth", "heads", "mlp_dim", "channels", "dim_head", "pool", "emb_dropout"]


def draw(rng: random.Random) -> dict:
    """A class of the package or of a tutorial, and some options of it."""
    kind = rng.choice(["ViT", "ViT", "ViT", "SimpleViT", "SimpleViT", "tutorial", "other"])
    if kind == "tutorial":
        model, names = rng.choice(TUTORIALS), ["dim", "heads", "mlp_dim", "num_classes", "batch_first", "norm_first", "act", "batch"]
    else:
        model = rng.choice(list(OTHERS)) if kind == "other" else kind
        names = [name for name in [*OWN, *HOW] if model != "SimpleViT" or name not in ("pool", "emb_dropout")]
    chosen = rng.sample(names, min(rng.choice([0, 1, 1, 2, 2, 3, 4, 6, 8]), len(names)))
    if kind == "other":
        chosen = [name for name in chosen if name != "version"]
    if kind in ("ViT", "SimpleViT") and rng.random() < 0.6:
        chosen = [*chosen, "version"]
    if kind != "tutorial" and rng.random() < 0.4:
        chosen = [*chosen, "small"]
    values = {name: rng.choice(VALUES[name]) for name in dict.fromkeys(chosen)}
    if kind == "SimpleViT" and "version" in values:
        values["version"] = rng.choice(SIMPLE)
    if values.get("version") in PLAIN[:2]:
        # These versions take square images, and demand more than 16 patches.
        values |= {"image_size": rng.choice([10, 12]), "patch_size": 2}
    return {"model": model, "seed": rng.randrange(10**6), **values}


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and what its own code computes with it."""
    o = {**DEFAULTS, **options}
    try:
        return tutorial_case(o, options, folder / "model") if o["model"] in TUTORIALS else package_case(o, folder / "model")
    except Invalid:
        raise
    except Exception as error:  # The library refuses arguments by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def package(version: str, file: str):
    """One file of one version, installed in a folder of its own."""
    folder = VERSIONS / version
    if not folder.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder), f"vit-pytorch=={version}"]
        subprocess.run(command, check=True)
    path = folder / "vit_pytorch" / f"{file}.py"
    spec = importlib.util.spec_from_file_location(f"vit_pytorch_{version}_{file}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def number(version: str) -> tuple:
    return tuple(int(part) for part in version.split("."))


def build(o: dict):
    """The model of the package; arguments that its version does not take are left out where they are the default."""
    args = {name: o[name] for name in OWN if name != "version" and o[name] != {"pool": "cls", "channels": 3, "emb_dropout": 0.0}.get(name)}
    args = {name: tuple(value) if isinstance(value, list) else value for name, value in args.items()}
    version, model = o["version"], o["model"]
    if version == "0.2.7":
        args.pop("dim_head")
    if model == "SimpleViT":
        return package(version, "simple_vit").SimpleViT(**args)
    if model == "ViT":
        return package(version, "vit_pytorch" if number(version) < (0, 20) else "vit").ViT(**args)
    return other(model, args)


def other(model: str, args: dict):
    """Another class of the latest version; a few take further arguments, or lack some of these."""
    more = {
        "vit_with_patch_dropout": {"patch_dropout": 0.25},
        "simple_vit_with_patch_dropout": {"patch_dropout": 0.25},
        "vit_with_patch_merger": {"patch_merge_layer": 1, "patch_merge_num_tokens": 2},
        "simple_vit_with_register_tokens": {"num_register_tokens": 2},
        "simple_vit_with_hyper_connections": {"num_residual_streams": 2},
    }.get(model, {})
    cls = getattr(package(LATEST, model), OTHERS[model])
    taken = inspect.signature(cls.__init__).parameters
    if "kwargs" not in taken:
        args = {name: value for name, value in args.items() if name in taken}
    return cls(**args, **more)


def package_case(o: dict, folder: Path) -> Case:
    model = build(o).eval()
    fill(model, o["seed"], o["small"])
    round_to(model, o["dtype"])
    height, width = pair(o["image_size"])
    pixels = pixels_of(o["seed"], o["batch"], o["channels"], height, width)
    expected = outputs(o, model, pixels)
    state = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    save(state, configuration(o), o["dtype"], folder)
    return as_case(pixels, expected, [])


def pair(size) -> tuple:
    return tuple(size) if isinstance(size, (list, tuple)) else (size, size)


def outputs(o: dict, model, pixels: torch.Tensor) -> dict:
    """The logits of any class; of ViT and SimpleViT also what each block and the head is given."""
    if o["model"] in OTHERS:
        with torch.no_grad():
            logits = model(pixels)
        return {"logits": logits[0] if isinstance(logits, tuple) else logits}
    states, pooled, last, handles = [], [], [], []
    keep = lambda into: lambda _, inputs: into.append(inputs[0].clone())
    transformer = model.transformer
    head = getattr(model, "mlp_head", None) or getattr(model, "linear_head", None)
    for layer in transformer.layers:
        handles.append(layer[0].register_forward_pre_hook(keep(states)))
    if hasattr(transformer, "norm"):
        handles.append(transformer.norm.register_forward_pre_hook(keep(states)))
    handles.append(transformer.register_forward_hook(lambda _, __, out: last.append(out.clone())))
    if head is not None:
        handles.append((head if isinstance(head, torch.nn.Linear) else head[-1]).register_forward_pre_hook(keep(pooled)))
    with torch.no_grad():
        logits = model(pixels)
    for handle in handles:
        handle.remove()
    states += [] if hasattr(transformer, "norm") else [last[0].clone()]
    expected = {**{f"hidden_states.{i}": state for i, state in enumerate(states)}, "last_hidden_state": last[0]}
    return expected if head is None else {**expected, "pooled": pooled[0], "logits": logits}


def configuration(o: dict) -> dict:
    """config.json as docs/your-own-vit.md has it: all that could be said, or the least that it asks for."""
    (height, width), patch = pair(o["image_size"]), pair(o["patch_size"])
    config = {"model_type": "vit_gpu", "family": "lucidrains", "num_heads": o["heads"]}
    if o["told"] == "dim_head" and o["version"] != "0.2.7" and o["model"] not in OTHERS:
        config.pop("num_heads")
        config["dim_head"] = o["dim_head"]
    whole = o["told"] == "all"
    square = height == width and patch[0] == patch[1]
    if whole or not square or o["model"] != "ViT":
        config["img_size"] = [height, width]
    if whole or patch[0] != patch[1]:
        config["patch_size"] = list(patch)
    if whole or o["channels"] != 3:
        config["in_chans"] = o["channels"]
    if o["model"] != "SimpleViT" and (whole or o["pool"] == "mean"):
        config["global_pool"] = {"cls": "token", "mean": "avg"}[o["pool"]]
    if whole or number(o["version"]) < (0, 7):
        config["version"] = o["version"]
    return config


def save(state: dict, config: dict, dtype: str, folder: Path):
    state = {key: value.to(DTYPES[dtype]) if value.is_floating_point() else value for key, value in state.items()}
    if sum(value.numel() * value.element_size() for value in state.values()) > LARGEST:
        raise Invalid("too large for the pack")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config, indent=1))


def tutorial_case(o: dict, options: dict, folder: Path) -> Case:
    """A model of tests/goldens/teaching_models.py with other sizes, by the reference there."""
    kept = {}

    def keep(name, family, w, x, model, mistakes, config, extra={}, shown=3):
        kept.update(family=family, w=w, x=x, model=model, config=config)

    width, heads = o["dim"], o["heads"]
    if width % heads or not o["num_classes"]:
        raise Invalid("heads that do not make up the width, or no classes")
    scales = {"fused": (1.0, width**-0.5), "readme": (1.0, (width // heads) ** -0.5), "notebook": ((width // heads) ** -0.5, 1.0)}
    drawn = lambda name, height, width, batch=o["batch"], chans=3: pixels_of(o["seed"], max(batch, o["batch"]), chans, height, width)
    sizes = dict(WIDTH=width, HIDDEN=o["mlp_dim"], HEADS=heads, CLASSES=o["num_classes"], ZUPPICHINI=scales, case=keep, pixels=drawn)
    kind, _, variant = o["model"].partition(" ")
    with mock.patch.multiple(teaching_models, **sizes):
        if kind == "zuppichini":
            teaching_models.zuppichini(variant, o["seed"])
        elif kind == "torch_encoder":
            teaching_models.torch_encoder("drawn", o["seed"], o["batch_first"], o["norm_first"], o["act"], o["batch"])
        elif kind == "per_head":
            teaching_models.per_head(o["seed"], o["batch"])
        else:
            teaching_models.patchlayer(o["seed"])
        with torch.no_grad():
            states, last, pooled, logits = kept["model"](kept["w"], kept["x"])
    config = {"model_type": "vit_gpu", "family": kept["family"], "num_heads": heads, "img_size": list(kept["x"].shape[2:]), **kept["config"]}
    if kind == "torch_encoder":
        config |= {"batch_first": o["batch_first"], "norm_first": o["norm_first"], "act": o["act"]}
    save({key: value.contiguous() for key, value in kept["w"].items()}, config, "float32", folder)
    states = states[:: len(states) // 2]
    expected = {**{f"hidden_states.{i}": state for i, state in enumerate(states)}, "last_hidden_state": last, "pooled": pooled, "logits": logits}
    return as_case(kept["x"], expected, [])


def refusable(options: dict) -> str | None:
    """Why vit-gpu may refuse this."""
    o = {**DEFAULTS, **options}
    if o["model"] in OTHERS:
        return "another class of the package"
    return None
