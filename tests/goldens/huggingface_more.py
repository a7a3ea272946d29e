"""Encoders of Hugging Face transformers beyond ViT and DeiT; run with version 4 (`hf_*`) and with version 5 (`hf5_*`).

Each case says what its `pooled` is: what the library pools, or else what its classifier is given.
"""

import json
import tempfile
from pathlib import Path

import torch
import transformers as tf

from common import GELUS, fill, pixels, round_to, tap, write

VERSION = int(tf.__version__.split(".")[0])
# Version 5 differs in names only, so its models may be smaller.
SIZES = dict(hidden_size={4: 32, 5: 24}[VERSION], num_hidden_layers=2, num_attention_heads=2, patch_size=4, image_size=12)
MLP = dict(intermediate_size={4: 48, 5: 40}[VERSION])
RATIO = dict(mlp_ratio=2)
TEXT = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, vocab_size=20, max_position_embeddings=8)
BIT = dict(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 24}, image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225])


def first(hidden, out, model):
    return hidden[:, 0]


def pooler(hidden, out, model):
    return out.pooler_output


def mean(skip):
    return lambda hidden, out, model: hidden[:, skip:].mean(1)


def first_and_mean(skip):
    return lambda hidden, out, model: torch.cat([hidden[:, 0], hidden[:, skip:].mean(1)], dim=1)


def projection(hidden, out, model):
    return model.visual_projection(out.pooler_output)


def shown(thing, file):
    """What save_pretrained writes of a configuration or a processor, without what only tells versions."""
    with tempfile.TemporaryDirectory() as folder:
        thing.save_pretrained(folder)
        content = json.loads((Path(folder) / file).read_text())
    return {key: value for key, value in content.items() if key not in ("transformers_version", "torch_dtype", "dtype")}


def case(name, seed, cls, config, pool, base="", size=(12, 12), processor=None, extra=None, small=0.005, adjust={}, **how):
    """`base`: the attribute that is the vision encoder; `how`: further arguments of its forward; `extra`: more to save."""
    config.architectures = [cls.__name__]
    content = shown(config, "config.json")
    config._attn_implementation = "eager"
    model = fill(cls(config), seed, small, adjust)
    round_to(model, torch.float16)
    encoder = getattr(model, base, model)
    # Version 4 keeps the encoders of CLIP and SigLIP that have no head one level deeper.
    encoder = getattr(encoder, "vision_model", encoder)
    blocks = getattr(encoder, "encoder", encoder)
    blocks = blocks.layer if hasattr(blocks, "layer") else blocks.layers
    x = pixels(name, *size)
    out, states = tap(blocks, lambda: encoder(x, **how))
    with torch.no_grad():
        hidden = out.last_hidden_state
        outputs = {"last_hidden_state": hidden, "pooled": pool(hidden, out, model)}
        if hasattr(model, "classifier"):
            outputs["logits"] = model(x, **how).logits
            torch.testing.assert_close(model.classifier(outputs["pooled"]), outputs["logits"])
        elif hasattr(model, "cls_classifier"):
            outputs["logits"] = model(x, **how).logits
        elif hasattr(model, "get_image_features"):
            features = model.get_image_features(x, **how)
            torch.testing.assert_close(outputs["pooled"], getattr(features, "pooler_output", features))
        elif hasattr(model, "visual_projection"):
            torch.testing.assert_close(outputs["pooled"], model(x, **how).image_embeds)
    files = {"preprocessor_config.json": shown(processor(), "preprocessor_config.json")} if processor else None
    write(name, model, {**model.state_dict(), **(extra or {})}, content, x, outputs, states, files=files, dtype=torch.float16)


def write_all(v5=()):
    """All cases of version 4, or of version 5 those of `v5`."""

    def make(name, *args, **more):
        if name in v5:
            case("hf5_" + name.removesuffix("_model"), *args, **more)
        elif not v5 and name not in ("vit", "deit_teacher"):
            case("hf_" + name, *args, **more)

    labels = dict(num_labels=6)
    other = dict(size=(20, 28), interpolate_pos_encoding=True)

    vit = lambda **more: tf.ViTConfig(**{**SIZES, **MLP, **more})
    make("vit", 201, tf.ViTForImageClassification, vit(image_size=[12, 16], **labels), first, "vit", size=(12, 16))
    make("vit_resampled", 202, tf.ViTForImageClassification, vit(image_size=16, **labels), first, "vit", small=0.02, adjust=GELUS, **other)
    deit = tf.DeiTConfig(**{**SIZES, **MLP, "image_size": [12, 16]}, **labels)
    make("deit_teacher", 203, tf.DeiTForImageClassificationWithTeacher, deit, first, "deit", size=(12, 16))
    msn = tf.ViTMSNConfig(**{**SIZES, **MLP, "image_size": [12, 16]}, **labels)
    make("vit_msn", 204, tf.ViTMSNForImageClassification, msn, first, "vit", size=(12, 16), adjust=GELUS)
    mae(make)

    bit = lambda: tf.BitImageProcessor(**BIT)
    dino = lambda **more: tf.Dinov2Config(**{**SIZES, **RATIO, **more})
    make("dinov2", 211, tf.Dinov2ForImageClassification, dino(**labels), first_and_mean(1), "dinov2")
    make("dinov2_model", 212, tf.Dinov2Model, dino(qkv_bias=False, layer_norm_eps=1e-5, use_mask_token=False), pooler, adjust=GELUS)
    make("dinov2_swiglu", 213, tf.Dinov2ForImageClassification, dino(use_swiglu_ffn=True, **labels), first_and_mean(1), "dinov2")
    make("dinov2_resampled", 214, tf.Dinov2Model, dino(image_size=28), pooler, size=(16, 24), processor=bit)

    registers = lambda **more: tf.Dinov2WithRegistersConfig(**{**SIZES, **RATIO, **more})
    classified = tf.Dinov2WithRegistersForImageClassification
    make("dinov2_registers", 221, classified, registers(num_register_tokens=2, **labels), first_and_mean(3), "dinov2_with_registers")
    make("dinov2_registers_model", 222, tf.Dinov2WithRegistersModel, registers(hidden_act="gelu_new"), pooler, adjust=GELUS)
    make("dinov2_registers_resampled", 223, tf.Dinov2WithRegistersModel, registers(image_size=28), pooler, size=(16, 24), processor=bit)

    clip = lambda **more: tf.CLIPVisionConfig(**{**SIZES, **MLP, **more})
    both = lambda top={}, **more: tf.CLIPConfig(text_config=TEXT, vision_config={**SIZES, **MLP, **more}, projection_dim=10, **top)
    shape = lambda: tf.CLIPImageProcessor(size={"shortest_edge": 14}, crop_size={"height": 12, "width": 12})
    make("clip_vision", 231, tf.CLIPVisionModel, clip(), pooler, processor=shape)
    make("clip_projection", 232, tf.CLIPVisionModelWithProjection, clip(projection_dim=10), projection, "vision_model")
    # Files from before transformers 4.31 hold these too.
    indices = {f"{part}_model.embeddings.position_ids": torch.arange(count)[None] for part, count in (("text", 8), ("vision", 10))}
    make("clip_full", 233, tf.CLIPModel, both(), projection, "vision_model", extra=None if v5 else indices)
    make("clip_classification", 234, tf.CLIPForImageClassification, both(labels, hidden_act="gelu", layer_norm_eps=1e-4), mean(1), "vision_model", adjust=GELUS)
    make("clip_resampled", 235, tf.CLIPVisionModel, clip(image_size=16), pooler, **other)

    siglip = tf.SiglipVisionConfig(**SIZES, **MLP)
    whole = lambda top={}, **more: tf.SiglipConfig(text_config=TEXT, vision_config={**SIZES, **MLP, **more}, **top)
    make("siglip_vision", 241, tf.SiglipVisionModel, siglip, pooler, adjust=GELUS)
    make("siglip_full", 242, tf.SiglipModel, whole(), pooler, "vision_model", adjust=GELUS)
    make("siglip_classification", 243, tf.SiglipForImageClassification, whole(labels, hidden_act="gelu", layer_norm_eps=1e-5), mean(0), "vision_model", adjust=GELUS)


def mae(make):
    """The file of the pre-training class, decoder and all; no patch masked, and none moved by the shuffle."""

    class Unmasked(tf.ViTMAEForPreTraining):
        def __init__(self, config):
            super().__init__(config)
            self.config.mask_ratio = self.vit.config.mask_ratio = 0.0

    Unmasked.__name__ = "ViTMAEForPreTraining"
    decoder = dict(decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2, decoder_intermediate_size=24)
    order = torch.arange(9.0).repeat(2, 1)
    make("vit_mae", 205, Unmasked, tf.ViTMAEConfig(**SIZES, **MLP, **decoder), first, "vit", noise=order, adjust=GELUS)
