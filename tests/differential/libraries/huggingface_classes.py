"""The classes of transformers that vit-gpu reads: which options each takes, and how it is built from them."""

import transformers as tf

SIZES = ["hidden_size", "num_hidden_layers", "num_attention_heads", "image_size", "patch_size", "num_channels", "hidden_act", "layer_norm_eps"]
LABELS = ["num_labels", "problem_type"]
VIT = [*SIZES, "intermediate_size", "qkv_bias", "head_dim"]
POOLER = ["pooler_act", "pooler_output_size", "add_pooling_layer"]
DINO = [*SIZES, "mlp_ratio", "qkv_bias", "layerscale_value", "use_swiglu_ffn", "head_dim", "apply_layernorm", "asked"]
CLIP = [*SIZES, "intermediate_size"]

# Class → the options that change its numbers or its files, besides those of HOW.
CLASSES = {
    "ViTModel": [*VIT, *POOLER, "use_mask_token"],
    "ViTForImageClassification": [*VIT, *LABELS],
    "ViTForMaskedImageModeling": [*VIT, "encoder_stride"],
    "ViTMAEModel": VIT,
    "ViTMAEForPreTraining": [*VIT, "norm_pix_loss"],
    "ViTMSNModel": [*VIT, "use_mask_token"],
    "ViTMSNForImageClassification": [*VIT, *LABELS],
    "DeiTModel": [*VIT, *POOLER, "use_mask_token"],
    "DeiTForImageClassification": [*VIT, *LABELS],
    "DeiTForImageClassificationWithTeacher": [*VIT, *LABELS],
    "DeiTForMaskedImageModeling": [*VIT, "encoder_stride"],
    "Dinov2Model": [*DINO, "use_mask_token"],
    "Dinov2ForImageClassification": [*DINO, *LABELS],
    "Dinov2Backbone": [*DINO, "reshape_hidden_states"],
    "Dinov2WithRegistersModel": [*DINO, "num_register_tokens"],
    "Dinov2WithRegistersForImageClassification": [*DINO, *LABELS, "num_register_tokens"],
    "Dinov2WithRegistersBackbone": [*DINO, "num_register_tokens"],
    "CLIPVisionModel": CLIP,
    "CLIPVisionModelWithProjection": [*CLIP, "projection_dim"],
    "CLIPModel": [*CLIP, "projection_dim"],
    "CLIPForImageClassification": [*CLIP, *LABELS],
    "SiglipVisionModel": [*CLIP, "vision_use_head"],
    "SiglipModel": [*CLIP, "vision_use_head"],
    "SiglipForImageClassification": [*CLIP, *LABELS, "vision_use_head"],
    "TimmWrapperModel": ["architecture", "global_pool", "do_pooling", "model_args"],
    "TimmWrapperForImageClassification": ["architecture", "global_pool", "num_labels", "model_args"],
}

# Classes of the same kind of file, which README does not list: run right or refused, never run wrong.
FAMILY_ONLY = ("ViTForMaskedImageModeling", "DeiTForMaskedImageModeling", "Dinov2Backbone", "Dinov2WithRegistersBackbone")

TEXT = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=20, max_position_embeddings=8)
DECODER = dict(decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=24)
TINY = dict(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=12, patch_size=4)
TIMM_TINY = dict(embed_dim=16, depth=2, num_heads=2, img_size=12, patch_size=4)

# Options of a class's constructor, or of the run; all others are the configuration's.
NOT_CONFIG = ("add_pooling_layer", "asked", "global_pool")
CONSTRUCTOR = ("add_pooling_layer", "use_mask_token")


def config_of(name: str, given: dict):
    """The configuration of a class from the options that were drawn for it."""
    if name.startswith("TimmWrapper"):
        return timm_config(given)
    options = {key: value for key, value in given.items() if key not in NOT_CONFIG}
    if not name.startswith("Dinov2"):
        options.pop("use_mask_token", None)
    vision = {**TINY, **options}
    if name.startswith("Dinov2"):
        vision.setdefault("mlp_ratio", 2)
        return (tf.Dinov2WithRegistersConfig if "Registers" in name else tf.Dinov2Config)(**vision)
    vision.setdefault("intermediate_size", 24)
    if name.startswith("ViTMAE"):
        return tf.ViTMAEConfig(**vision, **DECODER)
    if name.startswith("ViTMSN"):
        return tf.ViTMSNConfig(**vision)
    if name.startswith(("ViT", "DeiT")):
        return (tf.DeiTConfig if name.startswith("DeiT") else tf.ViTConfig)(**{"encoder_stride": 4, **vision})
    return tower_config(name, vision)


def tower_config(name: str, vision: dict):
    """The configuration of a vision tower of CLIP or SigLIP, alone or within the whole model."""
    siglip = name.startswith("Siglip")
    if "Vision" in name:
        return tf.SiglipVisionConfig(**vision) if siglip else tf.CLIPVisionConfig(**{"projection_dim": 10, **vision})
    top = {key: vision.pop(key) for key in ("num_labels", "problem_type", "projection_dim") if key in vision}
    if siglip:
        return tf.SiglipConfig(text_config=TEXT, vision_config=vision, **top)
    return tf.CLIPConfig(text_config=TEXT, vision_config=vision, **{"projection_dim": 10, **top})


def timm_config(given: dict):
    """The configuration that wraps a model of timm's, made tiny by its `model_args`."""
    args = {**TIMM_TINY, **(given.get("model_args") or {})}
    if given.get("global_pool") is not None:
        args["global_pool"] = given["global_pool"]
    more = {key: given[key] for key in ("do_pooling", "num_labels") if key in given}
    return tf.TimmWrapperConfig(architecture=given.get("architecture", "vit_tiny_patch16_224"), model_args=args, **more)


def model_of(name: str, config, given: dict):
    """The model of a class, as its users make it."""
    cls = getattr(tf, name)
    if name in ("ViTModel", "DeiTModel", "ViTMSNModel"):
        return cls(config, **{key: given[key] for key in CONSTRUCTOR if key in given})
    if name.startswith("ViTMAE"):
        # No patch is hidden; the file says what its users' files say: see `own_case`.
        config.mask_ratio = 0.0
    return cls(config)
