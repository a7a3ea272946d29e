"""Vision towers of open_clip: its own transformer with every option of `CLIPVisionCfg`, and the timm models it wraps."""

import json
import random
from pathlib import Path
from unittest import mock

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP, resize_pos_embed, set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from . import Case, Invalid
from .fill import fill
from .huggingface_reference import DTYPES, LARGEST, REFUSAL, as_case, pixels_of, round_to

NAME = "open-clip"
TEXT = {"context_length": 4, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1, "mlp_ratio": 1.5}
PREPROCESS = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bicubic", "resize_mode": "shortest"}

# What `CLIPVisionCfg` is given; its other fields are left out unless they are drawn.
TOWER = {"layers": 2, "width": 16, "head_width": 8, "patch_size": 4, "image_size": 12, "mlp_ratio": 2.0}
TRUNK = {"timm_model_name": None, "timm_pool": "avg", "timm_proj": "linear", "timm_proj_bias": False, "timm_drop": 0.0}
# timm's registry has no model as small as this: `timm_model_kwargs`, which open_clip after 3.3.0 hands to `timm.create_model`.
# The installed version is given them by a patch.
TRUNK_SIZES = {"embed_dim": 16, "depth": 2, "num_heads": 2, "mlp_ratio": 2.0, "patch_size": 4, "img_size": 12}

DEFAULTS = {
    **TOWER,
    **TRUNK,
    "embed_dim": 10,
    "quick_gelu": None,
    "ls_init_value": None,
    "act_kwargs": None,
    "norm_kwargs": None,
    "final_ln_after_pool": None,
    "pool_type": None,
    "no_ln_pre": None,
    "pos_embed_type": None,
    "output_tokens": None,
    "patch_dropout": None,
    "attentional_pool": None,
    "attn_pooler_queries": None,
    "block_type": None,
    "qk_norm": None,
    "scaled_cosine_attn": None,
    "scale_heads": None,
    "scale_attn_inner": None,
    "scale_attn": None,
    "scale_fc": None,
    "init_logit_bias": None,
    "custom_text": None,
    "kept": "whole",
    "stored_size": None,
    "input_size": None,
    "batch": 1,
    "dtype": "float32",
    "small": 1.0,
    "seed": 0,
}

# Options of the whole model's configuration, and of how it is kept and run; the others are `vision_cfg`'s.
MODEL = ["embed_dim", "quick_gelu", "init_logit_bias", "custom_text"]
HOW = ["kept", "stored_size", "input_size", "batch", "dtype", "small"]
SIZES = list(TOWER)
CUSTOM = ["qk_norm", "scaled_cosine_attn", "scale_heads", "scale_attn_inner", "scale_attn", "scale_fc"]

VALUES = {
    "layers": [1, 3],
    "width": [8, 24, 32],
    "head_width": [4, 16, 5],
    "patch_size": [2, 3, 8, 5, [4, 2], [2, 4]],
    "image_size": [8, 16, 13, [8, 16], [16, 12], [8, 32], [12, 12]],
    "mlp_ratio": [1.0, 1.5, 4.0, 2.6667],
    "embed_dim": [1, 6, 16, 24],
    "quick_gelu": [True, False],
    "ls_init_value": [0.1, 1e-5],
    "act_kwargs": [{"approximate": "tanh"}, {"approximate": "none"}, {}],
    "norm_kwargs": [{"eps": 1e-3}, {"eps": 1e-6}, {"eps": 0.1}, {}],
    "final_ln_after_pool": [True, False],
    "pool_type": ["tok", "avg", "avg", "none"],
    "no_ln_pre": [True],
    "pos_embed_type": ["sin_cos_2d", "learnable"],
    "output_tokens": [True],
    "patch_dropout": [0.5, 0.0],
    "attentional_pool": [True, "parallel", "cascade"],
    "attn_pooler_queries": [1, 4],
    "block_type": ["custom", "default"],
    **{name: [True] for name in CUSTOM},
    "init_logit_bias": [-10],
    "custom_text": [True],
    "timm_pool": ["", "avg", "token", "map", "max", "avgmax"],
    "timm_proj": ["", None, "mlp", "none", "linear"],
    "timm_proj_bias": [True],
    "timm_drop": [0.5],
    "kept": ["visual"],
    "stored_size": [8, 16, 24],
    "input_size": [[16, 16], [8, 12], [12, 20], [8, 8], [14, 13]],
    "batch": [2],
    "dtype": ["float16", "bfloat16"],
    "small": [0.004, 0.02],
}
TRUNKS = """vit_tiny_patch16_224 vit_base_patch16_224 vit_medium_patch16_gap_256 vit_base_patch16_siglip_224 vit_base_patch16_siglip_gap_224
vit_so400m_patch14_siglip_384 vit_base_patch16_clip_224 vit_base_patch16_clip_quickgelu_224 vit_small_patch14_dinov2
vit_small_patch14_reg4_dinov2 deit3_small_patch16_224 deit_tiny_distilled_patch16_224 vit_base_patch16_gap_224 vit_base_patch16_rpn_224
vit_base_patch16_224_miil vit_so150m_patch16_reg4_gap_256 vit_so150m_patch16_reg4_map_256 vit_so150m2_patch16_reg1_gap_256
vit_base_patch32_clip_448 vit_giantopt_patch16_siglip_256 vit_medium_patch16_reg4_gap_256 vit_pwee_patch16_reg1_gap_256
vit_base_patch16_18x2_224 eva_large_patch14_196 vit_intern300m_patch14_448 vit_base_patch16_xp_224 aimv2_large_patch14_224
flexivit_small vit_huge_patch14_clip_quickgelu_378 vit_base_patch16_plus_clip_240 vit_base_patch14_reg1_tipsv2""".split()


def draw(rng: random.Random) -> dict:
    """A tower of open_clip's own, or one of timm's, with some options."""
    trunk = rng.random() < 0.4
    options = {"seed": rng.randrange(10**6)}
    if trunk:
        options["timm_model_name"] = rng.choice(TRUNKS)
        names = ["timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "image_size", "embed_dim", "init_logit_bias", "patch_dropout", "quick_gelu"]
        names += ["kept", "batch", "dtype", "small"]
    else:
        names = [name for name in VALUES if not name.startswith("timm_")]
    chosen = rng.sample(names, min(rng.choice([0, 1, 1, 2, 2, 3, 4, 6, 8]), len(names)))
    if rng.random() < 0.7:
        chosen = [name for name in chosen if name not in ("attentional_pool", *CUSTOM)]
    if rng.random() < 0.4:
        chosen = [*chosen, "small"]
    options |= {name: rng.choice(VALUES[name]) for name in dict.fromkeys(chosen)}
    if options.get("timm_proj") == "none" and rng.random() < 0.8:
        # The trunk's own vectors are the embedding, so the text's must be as wide.
        options["embed_dim"] = TRUNK_SIZES["embed_dim"]
    return options


def model_cfg(o: dict, image_size=None) -> dict:
    """The configuration of these options as a user writes it; `image_size` in place of the one drawn."""
    own = o["timm_model_name"] is None
    if own:
        names = [name for name in DEFAULTS if name not in (*MODEL, *HOW, "seed") and not name.startswith("timm_")]
    else:
        names = ["timm_model_name", "timm_pool", "timm_proj", "timm_proj_bias", "timm_drop", "image_size", "patch_dropout"]
    vision = {name: o[name] for name in names if o[name] is not None or name == "timm_proj"}
    vision["image_size"] = image_size or o["image_size"]
    if own and o["attentional_pool"]:
        vision = {"attn_pooler_queries": 4, "attn_pooler_heads": 2, **vision}
    top = {name: o[name] for name in MODEL if o[name] is not None}
    if not own:
        top["custom_text"] = True
        vision |= {"timm_model_pretrained": False, "timm_model_kwargs": {**TRUNK_SIZES, "img_size": vision["image_size"]}}
    return {**top, "vision_cfg": vision, "text_cfg": TEXT}


def build(o: dict, image_size=None):
    """The model as `open_clip.create_model` makes it, its timm model made small."""
    cfg = json.loads(json.dumps(model_cfg(o, image_size)))
    cls = CustomTextCLIP if cfg.pop("custom_text", False) else CLIP
    real = open_clip.timm_model.timm.create_model
    sizes = cfg["vision_cfg"].pop("timm_model_kwargs", {})
    with mock.patch.object(open_clip.timm_model.timm, "create_model", lambda name, **more: real(name, **{**more, **sizes})):
        return cls(**cfg).eval()


def make(options: dict, folder: Path) -> Case:
    """The model of these options, saved in folder/model, and what open_clip computes with it."""
    o = {**DEFAULTS, **options}
    try:
        return case_of(o, folder)
    except Invalid:
        raise
    except Exception as error:  # The library refuses a configuration by many types of exception.
        raise Invalid(f"{type(error).__name__}: {str(error)[:100]}") from error


def case_of(o: dict, folder: Path) -> Case:
    stored = build(o, o["stored_size"])
    fill(stored, o["seed"], o["small"])
    round_to(stored, o["dtype"])
    run_size = o["input_size"] or o["image_size"]
    model = stored if run_size == (o["stored_size"] or o["image_size"]) else resized(stored, o, run_size)
    height, width = run_size if isinstance(run_size, list) else (run_size, run_size)
    pixels = pixels_of(o["seed"], o["batch"], 3, height, width)
    expected = outputs(model.visual, pixels)
    if o["pool_type"] == "avg":
        # The tokens that are pooled are normed already, or not: the library gives neither a name.
        expected.pop("last_hidden_state", None)
    save(stored, o, folder / "model")
    args = ["--image-size", f"{height}x{width}"] if o["input_size"] else []
    return as_case(pixels, expected, args)


def resized(stored, o: dict, size):
    """The model of another size, which reads the file as the library does."""
    if o["timm_model_name"]:
        raise Invalid("open_clip does not resample the positions of timm's models")
    model, state = build(o, size), stored.state_dict()
    resize_pos_embed(state, model)
    model.load_state_dict(state)
    return model


def outputs(visual, pixels: torch.Tensor) -> dict:
    """The embedding, the tokens before the last norm (of a timm model: its features) and the blocks' inputs."""
    trunk = getattr(visual, "trunk", None)
    blocks = trunk.blocks if trunk is not None else visual.transformer.resblocks
    states, handles = [], []
    for block in blocks:
        handles.append(block.register_forward_pre_hook(lambda _, args, kwargs: states.append((args[0] if args else kwargs["q_x"]).clone()), with_kwargs=True))
    handles.append(blocks[-1].register_forward_hook(lambda _, __, out: states.append(out.clone())))
    with torch.no_grad():
        pooled = visual(pixels)
        for handle in handles:
            handle.remove()
        pooled = pooled[0] if isinstance(pooled, tuple) else pooled
        last = trunk.forward_features(pixels) if trunk is not None else states[-1]
    if pooled.ndim != 2:
        return {REFUSAL: torch.zeros(1)}
    return {**{f"hidden_states.{i}": state for i, state in enumerate(states)}, "pooled": pooled, "last_hidden_state": last}


def save(model, o: dict, folder: Path):
    """As `open_clip.push_to_hf_hub.save_for_hf` does, without the tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().clone().contiguous() for key, value in model.state_dict().items()}
    state = {key: value.to(DTYPES[o["dtype"]]) if value.is_floating_point() else value for key, value in state.items()}
    if o["kept"] == "visual":
        state = {key: value for key, value in state.items() if key.startswith("visual.")}
    if sum(value.numel() * value.element_size() for value in state.values()) > LARGEST:
        raise Invalid("too large for the pack")
    save_file(state, folder / open_clip.constants.HF_SAFE_WEIGHTS_NAME)
    set_model_preprocess_cfg(model, {"size": model.visual.image_size, **PREPROCESS})
    save_config_for_hf(model, folder / open_clip.constants.HF_CONFIG_NAME, model_cfg(o))


def refusable(options: dict) -> str | None:
    """Why vit-gpu may refuse this."""
    o = {**DEFAULTS, **options}
    if o["timm_model_name"] is None:
        image, patch = ([size] * 2 if isinstance(size, int) else size for size in (o["image_size"], o["patch_size"]))
        if o["input_size"] and image[0] // patch[0] != image[1] // patch[1]:
            return "a table of an oblong grid, which the library takes for a square one"
        if o["attentional_pool"]:
            return "attentional pooling"
        if o["pool_type"] == "none":
            return "nothing is pooled"
        custom = [name for name in CUSTOM if o[name]]
        if custom:
            return "blocks of another kind"
    elif o["timm_proj"] in ("", None) and "distilled" in o["timm_model_name"]:
        return "a distilled trunk whose two heads are the projection"
    elif o["timm_proj"] in ("", None, "none") and o["timm_pool"] == "":
        return "nothing is pooled"
    elif o["timm_proj"] == "none" and o["embed_dim"] != TRUNK_SIZES["embed_dim"]:
        return "an image embedding of another size than the text's"
    return None
