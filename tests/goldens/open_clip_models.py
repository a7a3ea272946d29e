"""open_clip and OpenAI's CLIP, from the open_clip package: the visual tower alone and amid the whole model."""

from unittest import mock

import open_clip
import torch
from open_clip.model import CLIP, CustomTextCLIP, convert_weights_to_fp16, resize_pos_embed, set_model_preprocess_cfg
from open_clip.push_to_hf_hub import save_config_for_hf
from safetensors.torch import save_file

from common import MODELS, pixels, tap, write
from meta_models import differs, trained

VISION = {"layers": 2, "width": 32, "head_width": 16, "mlp_ratio": 1.5, "patch_size": 4}
TEXT = {"context_length": 4, "vocab_size": 10, "width": 16, "heads": 2, "layers": 1, "mlp_ratio": 1.5}
SQUASH = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3], "interpolation": "bilinear", "resize_mode": "squash"}
SHORTEST = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711], "interpolation": "bicubic", "resize_mode": "shortest"}


def build(model_cfg, seed, dtype=torch.float32, mixed=False):
    """The model, and which of its parameters a file of OpenAI's holds in half precision: not the norms and embeddings."""
    cfg = {key: value for key, value in model_cfg.items() if key != "custom_text"}
    model = (CustomTextCLIP if model_cfg.get("custom_text") else CLIP)(**cfg).eval()
    shapes = {name: tuple(parameter.shape) for name, parameter in model.named_parameters()}
    values = trained(shapes, seed, dtype)
    halves = dtypes(model) if mixed else {}
    model.load_state_dict({name: value.to(halves.get(name, torch.float32)).float() for name, value in values.items()})
    return model, halves


def dtypes(model):
    convert_weights_to_fp16(model)
    found = {name: parameter.dtype for name, parameter in model.named_parameters()}
    model.float()
    return found


def outputs_of(visual, x):
    """Projected embedding, and the tokens before ln_post (for a trunk: what timm calls its features)."""
    trunk = getattr(visual, "trunk", None)
    blocks = trunk.blocks if trunk else visual.transformer.resblocks
    pooled, states = tap(blocks, lambda: visual(x))
    with torch.no_grad():
        last = trunk.forward_features(x) if trunk else states[-1].clone()
    return {"pooled": pooled, "last_hidden_state": last}, states


def open_clip_case(name, seed, model_cfg, preprocess, x, only_visual=False, config=None, dtype=torch.float32):
    model, _ = build(model_cfg, seed, dtype)
    outputs, states = outputs_of(model.visual, x)
    tower = model.visual
    state = {key: value for key, value in model.state_dict().items() if key.startswith("visual.") or not only_visual}
    if not hasattr(tower, "trunk"):
        flipped, _ = build({**model_cfg, "quick_gelu": not model_cfg.get("quick_gelu", False)}, seed, dtype)
        differs(outputs["pooled"], outputs_of(flipped.visual, x)[0]["pooled"])
    save(name, model, model_cfg, preprocess, state, config, x, outputs, states, dtype)


def save(name, model, model_cfg, preprocess, state, config, x, outputs, states, dtype):
    write(name, None, state, config, x, outputs, states, dtype=dtype)
    (MODELS / name / "model.safetensors").rename(MODELS / name / open_clip.constants.HF_SAFE_WEIGHTS_NAME)
    set_model_preprocess_cfg(model, {"size": model.visual.image_size, **preprocess})
    save_config_for_hf(model, MODELS / name / open_clip.constants.HF_CONFIG_NAME, model_cfg)


def resampled(name, seed, model_cfg, size):
    """A square table read by a model of another size, through the function the library loads files with."""
    small, _ = build(model_cfg, seed)
    large_cfg = {**model_cfg, "vision_cfg": {**model_cfg["vision_cfg"], "image_size": size}}
    x, found = pixels(name, *size), []
    for options in ({}, {"antialias": False}, {"interpolation": "bilinear"}):
        state, large = small.state_dict(), CLIP(**large_cfg).eval()
        resize_pos_embed(state, large, **options)
        large.load_state_dict(state)
        found.append(outputs_of(large.visual, x))
    (outputs, states), *mistakes = found
    differs(outputs["pooled"], *(mistake["pooled"] for mistake, _ in mistakes))
    save(name, small, model_cfg, SHORTEST, small.state_dict(), None, x, outputs, states, torch.float32)


def openai(name, seed):
    """OpenAI's archive holds three integers besides the weights."""
    cfg = {"embed_dim": 24, "quick_gelu": True, "vision_cfg": {**VISION, "image_size": 16}, "text_cfg": TEXT}
    model, halves = build(cfg, seed, mixed=True)
    x = pixels(name, 16, 16)
    outputs, states = outputs_of(model.visual, x)
    write(name, None, {}, {"num_heads": 2, "act": "quick_gelu"}, x, outputs, states)
    state = {key: value.to(halves.get(key, value.dtype)).contiguous() for key, value in model.state_dict().items()}
    for key, value in {"input_resolution": 16, "context_length": TEXT["context_length"], "vocab_size": TEXT["vocab_size"]}.items():
        state[key] = torch.tensor(value)
    save_file(state, MODELS / name / "model.safetensors")


def trunk(name, seed):
    """A timm model within: TimmModel, its timm model made small."""
    real = open_clip.timm_model.timm.create_model
    small = dict(img_size=16, patch_size=4, embed_dim=32, depth=2, num_heads=2, mlp_ratio=1.5)
    cfg = {
        "embed_dim": 24,
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "vit_medium_patch16_gap_256", "timm_model_pretrained": False, "timm_pool": "", "timm_proj": "linear", "image_size": 16},
        "text_cfg": TEXT,
    }
    with mock.patch.object(open_clip.timm_model.timm, "create_model", lambda model, **options: real(model, **{**options, **small})):
        open_clip_case(name, seed, cfg, SQUASH, pixels(name, 16, 16), config={"num_heads": 2}, dtype=torch.float16)


def write_all():
    shape = lambda size: {"embed_dim": 24, "vision_cfg": {**VISION, "image_size": size}, "text_cfg": TEXT}
    open_clip_case("open_clip_visual", 51, shape([16, 24]), SQUASH, pixels("open_clip_visual", 16, 24), only_visual=True, dtype=torch.float16)
    open_clip_case("open_clip_quickgelu", 52, {**shape(16), "quick_gelu": True}, SHORTEST, pixels("open_clip_quickgelu", 16, 16), dtype=torch.float16)
    openai("openai_clip", 53)
    trunk("open_clip_timm", 54)
    resampled("open_clip_resampled", 55, shape(16), (20, 28))
