"""Classes of transformers whose files resemble those that vit-gpu reads: it must run them right or refuse them.

Each entry: the class, what its configuration is given, and the attribute that is its vision encoder.
"""

import torch
import transformers as tf

from . import Invalid
from .huggingface_classes import TEXT, TINY
from .huggingface_reference import REFUSAL, blocks_of, expected_of, run

VISION = {**TINY, "intermediate_size": 24}
DUAL_TEXT = {**TEXT, "max_position_embeddings": 16, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
BOTH = dict(vision_config=VISION, text_config=DUAL_TEXT, projection_dim=10)
DINO = {**TINY, "mlp_ratio": 2}
DETECTION = dict(num_detection_tokens=3, image_size=[12, 12], use_mid_position_embeddings=False)

OTHERS = {
    "IJepaModel": (VISION, ""),
    "IJepaForImageClassification": (VISION, "ijepa"),
    "BeitModel": ({**VISION, "use_absolute_position_embeddings": True}, ""),
    "BeitForImageClassification": (VISION, "beit"),
    "Data2VecVisionModel": (VISION, ""),
    "Data2VecVisionForImageClassification": (VISION, "data2vec_vision"),
    "YolosModel": ({**VISION, **DETECTION}, ""),
    "YolosForObjectDetection": ({**VISION, **DETECTION}, "vit"),
    "VitDetModel": ({**DINO, "pretrain_image_size": 12}, None),
    "VideoMAEModel": ({**VISION, "num_frames": 2}, None),
    "VivitModel": ({**VISION, "num_frames": 2, "tubelet_size": [2, 4, 4]}, None),
    "BlipVisionModel": (VISION, ""),
    "BlipModel": (BOTH, "vision_model"),
    "Blip2VisionModel": (VISION, ""),
    "InstructBlipVisionModel": (VISION, ""),
    "AltCLIPVisionModel": (VISION, ""),
    "CLIPSegVisionModel": (VISION, ""),
    "CLIPSegModel": (BOTH, "vision_model"),
    "ChineseCLIPVisionModel": (VISION, ""),
    "ChineseCLIPModel": (BOTH, "vision_model"),
    "Aimv2VisionModel": (VISION, ""),
    "Aimv2Model": (BOTH, "vision_model"),
    "MetaClip2VisionModel": (VISION, ""),
    "MetaClip2VisionModelWithProjection": ({**VISION, "projection_dim": 10}, "vision_model"),
    "MetaClip2Model": (BOTH, "vision_model"),
    "MetaClip2ForImageClassification": (BOTH, "vision_model"),
    "GitVisionModel": (VISION, ""),
    "MLCDVisionModel": ({**VISION, "num_key_value_groups": 1}, ""),
    "DINOv3ViTModel": (VISION, ""),
    "PixioModel": (DINO, ""),
    "Tipsv2VisionModel": (DINO, ""),
    "VitPoseBackbone": ({**DINO, "image_size": [12, 12]}, None),
    "DPTModel": ({**VISION, "backbone_out_indices": [0, 1, 1, 1], "neck_hidden_sizes": [4, 4, 4, 4], "fusion_hidden_size": 4}, None),
    "FlavaImageModel": (VISION, ""),
    "AltCLIPModel": ({**BOTH, "text_config": {**DUAL_TEXT, "project_dim": 10}}, "vision_model"),
    "CLIPSegForImageSegmentation": ({**BOTH, "extract_layers": [0, 1], "reduce_dim": 8, "decoder_num_attention_heads": 2, "decoder_intermediate_size": 8}, None),
    "OwlViTModel": (BOTH, None),
    "RfDetrDinov2Backbone": ({**DINO, "image_size": 16, "num_windows": 2}, None),
    "ViltModel": ({**VISION, "vocab_size": 20, "max_position_embeddings": 8}, None),
    "XCLIPVisionModel": (VISION, None),
    "OwlViTVisionModel": (VISION, ""),
    "Owlv2VisionModel": (VISION, ""),
    "Siglip2VisionModel": ({**VISION, "num_patches": 9}, None),
    "Siglip2ForImageClassification": (dict(vision_config={**VISION, "num_patches": 9}, text_config=TEXT), None),
    "SamVisionModel": ({**VISION, "output_channels": 8, "window_size": 0}, None),
    "Idefics3VisionTransformer": (VISION, ""),
    "SmolVLMVisionTransformer": (VISION, ""),
    "VisionTextDualEncoderModel": ("dual", None),
    "VisionEncoderDecoderModel": ("decoder", None),
    "DepthAnythingForDepthEstimation": ("depth", None),
    "LlavaModel": ("llava", None),
}


# What may be drawn for any of these, where its configuration has it.
OTHER_OPTIONS = ["hidden_act", "layer_norm_eps", "qkv_bias", "num_labels"]


def nested(kind: str):
    """Models that hold another of these models within."""
    vit, bert = tf.ViTConfig(**VISION), tf.BertConfig(**TEXT)
    if kind == "dual":
        return tf.VisionTextDualEncoderModel(tf.VisionTextDualEncoderConfig.from_vision_text_configs(vit, bert, projection_dim=10))
    if kind == "decoder":
        decoder = tf.BertConfig(**TEXT, is_decoder=True, add_cross_attention=True)
        return tf.VisionEncoderDecoderModel(tf.VisionEncoderDecoderConfig.from_encoder_decoder_configs(vit, decoder))
    if kind == "depth":
        backbone = tf.Dinov2Config(**{**DINO, "num_hidden_layers": 4, "mlp_ratio": 1}, out_indices=[1, 2, 3, 4])
        sizes = dict(reassemble_hidden_size=16, neck_hidden_sizes=[4, 4, 4, 4], fusion_hidden_size=4, head_hidden_size=4)
        return tf.DepthAnythingForDepthEstimation(tf.DepthAnythingConfig(backbone_config=backbone, patch_size=4, **sizes))
    text = tf.LlamaConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=20)
    return tf.LlavaModel(tf.LlavaConfig(vision_config=tf.CLIPVisionConfig(**VISION), text_config=text, image_token_index=3))


def build(name: str, options: dict):
    """The model; `options` that its configuration knows replace those above."""
    given, _ = OTHERS[name]
    if isinstance(given, str):
        return nested(given)
    cls = getattr(tf, name)
    given = {key: dict(value) if isinstance(value, dict) else value for key, value in given.items()}
    target = given["vision_config"] if "vision_config" in given else given
    target.update({key: options[key] for key in OTHER_OPTIONS if key in options and hasattr(cls.config_class, key)})
    return cls(cls.config_class(**given))


def reference(name: str, model: torch.nn.Module, pixels: torch.Tensor) -> dict:
    """What the model computes, where it takes a batch of images; else a name that no run of vit-gpu gives."""
    _, part = OTHERS[name]
    if part is None:
        return {REFUSAL: torch.zeros(1)}
    encoder = getattr(model, part) if part else model
    try:
        blocks_of(encoder)
        result, taps = run(model, encoder, lambda: getattr(model, "get_image_features", model)(pixels))
    except (RuntimeError, TypeError, ValueError) as error:
        raise Invalid(f"{name}: {str(error)[:80]}") from error
    expected = {**expected_of(result, taps, False), "logits": getattr(result, "logits", None)}
    return {key: value for key, value in expected.items() if isinstance(value, torch.Tensor)}
