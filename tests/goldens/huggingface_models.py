"""Hugging Face encoders in the names of transformers 4."""

import torch
import transformers

from common import fill, pixels, round_to, tap, write

V5_NAMES = [
    ("encoder.layer.", "layers."),
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
]


def hf_case(name, cls, config, seed, v5=False, dtype=torch.float32, shards=None, processor=None):
    model = fill(cls(config), seed)
    round_to(model, dtype)
    height, width = config.image_size
    x = pixels(name, height, width)
    encoder = getattr(model, config.model_type, model)

    def run():
        hidden = encoder(x, return_dict=True)
        result = model(x, return_dict=True)
        return hidden.last_hidden_state, getattr(result, "logits", None), getattr(hidden, "pooler_output", None)

    kept = {}
    (hidden, logits, pooler), _ = tap(encoder.encoder.layer, run)
    _, states = tap(encoder.encoder.layer, lambda: encoder(x, return_dict=True))
    pooled = pooler if logits is None and pooler is not None else hidden[:, 0]
    outputs = {"last_hidden_state": hidden, "pooled": pooled, **kept}
    if logits is not None:
        outputs["logits"] = logits
    state = model.state_dict()
    if v5:
        renamed = {}
        for key, value in state.items():
            for old, new in V5_NAMES:
                key = key.replace(old, new)
            renamed[key] = value
        state = renamed
    shown = {**config.to_dict(), "architectures": [cls.__name__]}
    shown = {key: value for key, value in shown.items() if key not in ("transformers_version", "torch_dtype", "dtype")}
    files = {"preprocessor_config.json": processor} if processor else None
    write(name, model, state, shown, x, outputs, states, files=files, dtype=dtype, shards=shards)


def write_all():
    sizes = dict(hidden_size=36, num_hidden_layers=2, num_attention_heads=3, intermediate_size=50, image_size=[24, 16], patch_size=4)
    labels = dict(id2label={0: "ant", 1: "bee", 2: "cat", 3: "dog", 4: "eel"}, label2id={"ant": 0, "bee": 1, "cat": 2, "dog": 3, "eel": 4})
    vit = lambda **more: transformers.ViTConfig(**{**sizes, **labels, **more}, attn_implementation="eager")
    deit = lambda **more: transformers.DeiTConfig(**{**sizes, **labels, **more}, attn_implementation="eager")
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": 24, "width": 16}, "image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.25, 0.5], "resample": 3}
    hf_case("hf_vit", transformers.ViTForImageClassification, vit(), 11, processor=processor)
    hf_case("hf_vit_pooler", transformers.ViTModel, vit(qkv_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-5), 12)
    hf_case("hf_vit_v5_names", transformers.ViTForImageClassification, vit(hidden_size=48, num_attention_heads=4), 13, v5=True, dtype=torch.bfloat16)
    hf_case("hf_vit_sharded", transformers.ViTForImageClassification, vit(hidden_act="quick_gelu"), 14, shards=3)
    hf_case("hf_deit", transformers.DeiTForImageClassification, deit(), 15)
    hf_case("hf_deit_teacher", transformers.DeiTForImageClassificationWithTeacher, deit(intermediate_size=72), 16)
