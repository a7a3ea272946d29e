"""Vision Transformers of Hugging Face transformers, with every option that changes their numbers or their files."""

import json
import logging
import os
import random
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers as tf

from . import Case, Invalid
from .fill import fill
from .huggingface_classes import CLASSES, FAMILY_ONLY, TIMM_TINY, TINY, config_of, model_of
from .huggingface_others import OTHER_OPTIONS, OTHERS, build, reference
from .huggingface_reference import as_case, expected_of, pixels_of, round_to, run, save

tf.utils.logging.set_verbosity_error()
tf.utils.logging.disable_progress_bar()
logging.disable(logging.WARNING)

NAME = "huggingface"

# An option that is None is not given: the class's own default applies.
DEFAULTS = {
    "cls": "ViTForImageClassification",
    **TINY,
    "num_channels": None,
    "hidden_act": None,
    "layer_norm_eps": None,
    "intermediate_size": None,
    "qkv_bias": None,
    "head_dim": None,
    "mlp_ratio": None,
    "layerscale_value": None,
    "use_swiglu_ffn": None,
    "num_register_tokens": None,
    "apply_layernorm": None,
    "reshape_hidden_states": None,
    "use_mask_token": None,
    "encoder_stride": None,
    "norm_pix_loss": None,
    "pooler_act": None,
    "pooler_output_size": None,
    "add_pooling_layer": None,
    "projection_dim": None,
    "vision_use_head": None,
    "num_labels": None,
    "problem_type": None,
    "architecture": None,
    "global_pool": None,
    "do_pooling": None,
    "model_args": None,
    "asked": None,
    "input_size": None,
    "preprocessor": None,
    "batch": 1,
    "saved": "pretrained",
    "dtype": "float32",
    "small": 1.0,
    "seed": 0,
}

SUPPORTED_ACTS = ["gelu", "gelu_new", "gelu_pytorch_tanh", "quick_gelu", "relu", "silu"]
OTHER_NAMES = ["gelu_fast", "gelu_python", "gelu_accurate", "swish"]
OTHER_ACTS = ["gelu_10", "tanh", "sigmoid", "relu6", "mish", "hardswish", "leaky_relu", "relu2", "linear"]
ARCHITECTURES = """vit_tiny_patch16_224 vit_base_patch16_clip_224 vit_base_patch16_clip_quickgelu_224 vit_base_patch16_siglip_224
vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2 vit_base_patch16_gap_224 vit_base_patch16_rpn_224 deit3_small_patch16_224
deit_tiny_distilled_patch16_224 vit_medium_patch16_reg4_gap_256 vit_base_patch16_224_miil vit_so150m_patch16_reg4_map_256""".split()

VALUES = {
    "hidden_size": [8, 12, 24, 32, 48, 33],
    "num_hidden_layers": [1, 3],
    "num_attention_heads": [1, 3, 4],
    "image_size": [8, 16, 13, [8, 12], [12, 16], [16, 12], [8, 32], [20, 12], [12, 12]],
    "patch_size": [2, 3, 5, 6, 8, [4, 2], [2, 4]],
    "num_channels": [1, 2, 4],
    "hidden_act": SUPPORTED_ACTS * 3 + OTHER_NAMES * 2 + OTHER_ACTS,
    "layer_norm_eps": [1e-12, 1e-6, 1e-5, 1e-4, 1e-3, 0.1],
    "intermediate_size": [1, 16, 40, 72],
    "qkv_bias": [False, True],
    "head_dim": [4, 16],
    "mlp_ratio": [1, 3, 4],
    "layerscale_value": [0.1, 1e-5],
    "use_swiglu_ffn": [True, False],
    "num_register_tokens": [0, 1, 4, 5],
    "apply_layernorm": [False],
    "reshape_hidden_states": [False],
    "use_mask_token": [True, False],
    "encoder_stride": [2, 4],
    "norm_pix_loss": [True],
    "pooler_act": ["tanh", "relu", "gelu", "silu", "quick_gelu", "sigmoid"],
    "pooler_output_size": [8, 24, 40],
    "add_pooling_layer": [False, True],
    "projection_dim": [1, 8, 24, 30],
    "vision_use_head": [False, True],
    "num_labels": [0, 1, 2, 3, 7],
    "problem_type": ["regression", "multi_label_classification", "single_label_classification"],
    "architecture": ARCHITECTURES,
    "global_pool": ["", "avg", "avgmax", "max", "token", "map"],
    "do_pooling": [False],
    "model_args": [{"num_heads": 3}, {"qkv_bias": False}, {"init_values": 0.1}, {"img_size": [12, 16]}, {"mlp_ratio": 1.5}, {"patch_size": 3}, {"in_chans": 1}],
    "asked": [True],
    "input_size": [[12, 12], [16, 16], [8, 12], [12, 20], [8, 8], [24, 16], [14, 13], [8, 32]],
    "preprocessor": [8, 12, 16, [12, 16]],
    "batch": [2],
    "saved": ["pretrained", "current_names", "raw", "raw_bare", "raw_whole", "raw_parallel", "raw_compiled", "raw_positions", "sharded", "variant"],
    "dtype": ["float16", "bfloat16", "float64"],
    "small": [0.004, 0.02],
}
HOW = ["batch", "saved", "dtype", "small", "input_size", "preprocessor"]


def draw(rng: random.Random) -> dict:
    """A class and some of its options: often one or two, now and then many."""
    cls = rng.choice(list(OTHERS)) if rng.random() < 0.15 else rng.choice(list(CLASSES))
    names = [*CLASSES[cls], *HOW] if cls in CLASSES else [*OTHER_OPTIONS, *HOW[:4]]
    count = min(rng.choice([0, 1, 1, 2, 2, 3, 4, 6, 9]), len(names))
    chosen = rng.sample(names, count)
    if not cls.startswith("Dinov2") and rng.random() < 0.7:
        chosen = [name for name in chosen if name != "input_size"]
    if rng.random() < 0.4:
        chosen = [*chosen, "small"]
    return {"cls": cls, "seed": rng.randrange(10**6), **{name: value_of(rng, cls, name) for name in dict.fromkeys(chosen)}}


def value_of(rng: random.Random, cls: str, name: str):
    """One value of an option; the image and patch sizes of CLIP and SigLIP are single numbers."""
    square = name in ("image_size", "patch_size") and cls.startswith(("CLIP", "Siglip"))
    return rng.choice([value for value in VALUES[name] if not (square and isinstance(value, list))])


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and what transformers computes with it."""
    o = {**DEFAULTS, **options}
    given = {key: value for key, value in options.items() if key in VALUES and key not in HOW and value is not None}
    try:
        return other_case(o, given, folder) if o["cls"] in OTHERS else own_case(o, given, folder)
    except Invalid:
        raise
    except Exception as error:  # The library refuses a configuration by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def finish(model, o: dict):
    """Sets every value of the model and rounds it to what its file holds."""
    fill(model.eval(), o["seed"], o["small"])
    round_to(model, o["dtype"])
    return model


def other_case(o: dict, given: dict, folder: Path) -> Case:
    model = finish(build(o["cls"], given), o)
    pixels = pixels_of(o["seed"], o["batch"], 3, 12, 12)
    expected = reference(o["cls"], model, pixels)
    save(model, folder, o["saved"], o["dtype"])
    return as_case(pixels, expected, [])


def own_case(o: dict, given: dict, folder: Path) -> Case:
    name = o["cls"]
    given = {key: value for key, value in given.items() if key in CLASSES[name]}
    config = config_of(name, given)
    model = finish(model_of(name, config, given), o)
    chans, height, width = image_of(name, config)
    how, args = {}, []
    if o["input_size"]:
        height, width = o["input_size"]
        how, args = asked(name, o)
    pixels = pixels_of(o["seed"], o["batch"], chans, height, width)
    expected = outputs(name, model, pixels, how)
    if name.startswith("ViTMAE"):
        config.mask_ratio = 0.75
    save(model, folder, o["saved"], o["dtype"])
    if o["preprocessor"]:
        (folder / "model" / "preprocessor_config.json").write_text(json.dumps(processor(name, o["preprocessor"])))
    return as_case(pixels, expected, args)


def processor(name: str, size) -> dict:
    """What an image processor of this size is saved as: its size need not be the model's, and `forward` takes ready images."""
    height, width = pair(size)
    whole = {"height": height, "width": width}
    if name.startswith(("Dinov2", "CLIP")):
        kind = "BitImageProcessor" if name.startswith("Dinov2") else "CLIPImageProcessor"
        return {"image_processor_type": kind, "size": {"shortest_edge": max(height, width)}, "crop_size": whole}
    return {"image_processor_type": "SiglipImageProcessor" if name.startswith("Siglip") else "ViTImageProcessor", "size": whole}


def image_of(name: str, config) -> tuple:
    """Channels, height and width of the images that a configuration is for."""
    if name.startswith("TimmWrapper"):
        args = {**TIMM_TINY, "in_chans": 3, **config.model_args}
        size = args["img_size"]
        return (args["in_chans"], *(size if isinstance(size, list) else (size, size)))
    config = getattr(config, "vision_config", config)
    size = config.image_size
    return (config.num_channels, *(size if isinstance(size, (list, tuple)) else (size, size)))


def asked(name: str, o: dict) -> tuple:
    """How another image size is asked for: of the library, and of vit-gpu. DINOv2 follows its input without being asked."""
    if name.startswith("TimmWrapper"):
        raise Invalid("timm's models are resampled by timm's own rule: see the timm libraries")
    if o["input_size"] == pair(o["image_size"]) and not name.startswith("Dinov2"):
        raise Invalid("no other size: vit-gpu takes that for nothing asked, the library resamples an oblong table")
    size = ["--image-size", "x".join(map(str, o["input_size"]))]
    if name.startswith("Dinov2"):
        return {}, size if o["asked"] else []
    return {"interpolate_pos_encoding": True}, size


def outputs(name: str, model, pixels: torch.Tensor, how: dict) -> dict:
    """Every output of a class that vit-gpu gives."""
    if name.startswith("TimmWrapper"):
        return timm_outputs(model, pixels)
    encoder = next((part for key in ("vit", "deit", "dinov2", "dinov2_with_registers", "vision_model") if (part := getattr(model, key, None)) is not None), model)
    if name.startswith("ViTMAE"):
        count = (pixels.shape[2] // patch(model, 0)) * (pixels.shape[3] // patch(model, 1))
        how = {**how, "noise": torch.arange(float(count)).repeat(len(pixels), 1)}
    forward = getattr(model, "get_image_features", model)
    if name.endswith(("MaskedImageModeling", "ForPreTraining")):
        forward = encoder
    if name.endswith("Backbone"):
        how = {**how, "output_hidden_states": True}
    result, taps = run(model, encoder, lambda: forward(pixels, **how))
    expected = expected_of(result, taps, not name.startswith("Siglip"))
    if name.endswith(("Classification", "WithTeacher")) and model.config.num_labels:
        expected["logits"] = result.logits
    return expected


def patch(model, axis: int) -> int:
    size = model.config.patch_size
    return size[axis] if isinstance(size, (list, tuple)) else size


def timm_outputs(model, pixels: torch.Tensor) -> dict:
    trunk = model.timm_model

    def forward():
        features = trunk.forward_features(pixels)
        return features, trunk.forward_head(features, pre_logits=True), trunk.forward_head(features)

    (features, pooled, logits), taps = run(model, trunk, lambda: (trunk(pixels), forward())[1])
    count = len(trunk.blocks) + 1
    expected = {f"hidden_states.{i}": state for i, state in enumerate(taps.states[:count])}
    if pooled.ndim != 2:
        raise Invalid("nothing is pooled")
    expected |= {"last_hidden_state": features, "pooled": pooled}
    return {**expected, "logits": logits} if model.config.num_labels and hasattr(model, "num_labels") else expected


def refusable(options: dict) -> str | None:
    """Why vit-gpu may refuse this."""
    o = {**DEFAULTS, **options}
    names = CLASSES.get(o["cls"], [])
    if o["cls"] in OTHERS:
        return "a class that README does not list"
    if o["cls"] == "TimmWrapperModel" and o["saved"].startswith("raw"):
        return "nothing tells that the bare model has none of the classes that its configuration names"
    if o["cls"].startswith("TimmWrapper") and o["preprocessor"]:
        return "a processor beside a timm model, which has its own"
    if o["cls"] in FAMILY_ONLY:
        return "a class whose own output vit-gpu does not give"
    if lacking := [act for act in ("hidden_act", "pooler_act") if act in names and o[act] in OTHER_ACTS]:
        return f"{lacking[0]} that vit-gpu lacks"
    if o["head_dim"] and "head_dim" in names or o["hidden_size"] % o["num_attention_heads"]:
        return "heads that do not make up the width"
    if o["preprocessor"] and not o["cls"].startswith("Dinov2") and pair(o["preprocessor"]) != pair(o["input_size"] or o["image_size"]):
        return "images that the model does not take: the library's processor makes none of its size"
    if oblong(o) and (o["input_size"] or o["cls"].startswith("Dinov2")):
        return "a table of an oblong grid, which the library takes for a square one"
    return None


def pair(size) -> list:
    return size if isinstance(size, list) else [size, size]


def oblong(o: dict) -> bool:
    """Whether the model's own grid is not square."""
    image, size = pair(o["image_size"]), pair(o["patch_size"])
    return image[0] // size[0] != image[1] // size[1]
