"""Writes the golden files that the tests compare with, from PyTorch, timm, transformers, torchvision and Pillow.

    pip install -r tests/goldens/requirements.txt
    python tests/goldens/generate.py

Each model golden is a folder with the model as its library saves it, its configuration, and golden.safetensors: input,
taps, outputs. Models are tiny, with sizes that leave edges everywhere and values like a trained model's; every branch is
at least a tenth of the residual it joins, so that a dead block would show.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import timm
import torch
import torchvision
import transformers
from safetensors.torch import save_file
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

import images
from hashed import hashed, timm_weight

HERE = Path(__file__).parent
MODELS = HERE / "models"
torch.set_num_threads(1)
torch.backends.mha.set_fastpath_enabled(False)


def fill(model: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Trained-like values: small tokens (so that a wrong eps shows in the first norm), norms away from 1, biases from 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.randn(parameter.shape, generator=generator)
            leaf = name.split(".")[-1]
            is_norm = parameter.ndim == 1 and leaf == "weight"
            if is_norm:
                values = 1 + 0.25 * values
            elif leaf == "gamma":
                values = 0.7 + 0.2 * values
            elif leaf.endswith("bias"):
                values = 0.2 * values if "patch" not in name and "conv_proj" not in name else 0.01 * values
            elif any(part in name for part in ("token", "pos_embed", "position", "pos_embedding")):
                values = 0.02 * values
            elif "patch" in name or "conv_proj" in name:
                values = 0.02 * values / parameter[0].numel() ** 0.5
            else:
                values = 1.3 * values / parameter.shape[1] ** 0.5
            parameter.copy_(values)
    return model.eval()


def tap(blocks, run):
    """Runs the model with the input of every block kept, and the output of the last; checks every branch's weight."""
    states, handles = [], []
    for block in blocks:
        handles.append(block.register_forward_pre_hook(lambda _, args, kwargs: states.append((args[0] if args else kwargs["hidden_states"]).clone()), with_kwargs=True))

    def last(_, __, output):
        states.append((output[0] if isinstance(output, tuple) else output).clone())

    handles.append(blocks[-1].register_forward_hook(last))
    with torch.no_grad():
        result = run()
    for handle in handles:
        handle.remove()
    for before, after in zip(states, states[1:]):
        assert (after - before).norm() > 0.1 * before.norm(), "a block adds too little to be noticed"
    return result, states


def write(name: str, model, state, config, pixel_values, outputs, states, files=None, dtype=torch.float32, shards=None):
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    state = {key: value.detach().to(dtype).contiguous() for key, value in state.items()}
    if shards:
        keys, index = sorted(state), {}
        for i in range(shards):
            file = f"model-{i + 1:05}-of-{shards:05}.safetensors"
            part = keys[i::shards]
            save_file({key: state[key] for key in part}, folder / file)
            index.update({key: file for key in part})
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    else:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    for file, content in {"config.json": config, **(files or {})}.items():
        if content is not None:
            (folder / file).write_text(json.dumps(content, indent=1))
    golden = {"pixel_values": pixel_values, **outputs, **{f"hidden_states.{i}": s for i, s in enumerate(states)}}
    golden = {key: value.detach().float().contiguous() for key, value in golden.items()}
    assert all(value.isfinite().all() for value in golden.values())
    save_file(golden, folder / "golden.safetensors")


def pixels(name, height, width, batch=2, chans=3):
    values = hashed(name, batch * chans * height * width).reshape(batch, chans, height, width)
    return torch.from_numpy(values)


def round_to(model, dtype):
    """The values a half-precision file would hold, computed with in f32."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.to(dtype).float())


def timm_case(name, args, distilled=False, seed=0, dtype=torch.float32, prefix="", json_args=None):
    model = fill((VisionTransformerDistilled if distilled else VisionTransformer)(**args), seed)
    round_to(model, dtype)
    height, width = args["img_size"]
    x = pixels(name, height, width, chans=args.get("in_chans", 3))

    def run():
        features = model.forward_features(x)
        if distilled:
            logits, pooled = model.forward_head(features), features[:, 0]
        else:
            logits, pooled = model.forward_head(features), model.forward_head(features, pre_logits=True)
        return features, logits, pooled

    (features, logits, pooled), states = tap(model.blocks, run)
    state = {prefix + key: value for key, value in model.state_dict().items()}
    shown = {key: value for key, value in args.items() if key not in ("num_classes",)}
    config = {
        "architecture": "vit_custom",
        "num_classes": args["num_classes"],
        "global_pool": args.get("global_pool", "token"),
        "model_args": {**shown, **(json_args or {})},
        "pretrained_cfg": {"input_size": [args.get("in_chans", 3), height, width], "crop_pct": 0.9},
    }
    write(name, model, state, config, x, {"logits": logits, "last_hidden_state": features, "pooled": pooled}, states, dtype=dtype)


def timm_cases():
    base = dict(img_size=(20, 28), patch_size=4, embed_dim=36, num_heads=3, depth=2, mlp_ratio=2, num_classes=7)
    timm_case("timm_plain", base, seed=1)
    timm_case(
        "timm_registers",
        {**base, "embed_dim": 40, "num_heads": 2, "reg_tokens": 3, "no_embed_class": True, "global_pool": "avg", "init_values": 0.5, "num_classes": 12},
        seed=2,
    )
    timm_case(
        "timm_prenorm_avg",
        {**base, "img_size": (15, 25), "patch_size": 5, "embed_dim": 48, "num_heads": 4, "class_token": False, "pre_norm": True, "qkv_bias": False, "global_pool": "avg", "fc_norm": False, "act_layer": "quick_gelu"},
        seed=3,
    )
    timm_case("timm_distilled", {**base, "img_size": (16, 12)}, distilled=True, seed=4)
    timm_case("timm_tanh_f16", {**base, "reg_tokens": 2, "act_layer": "gelu_tanh", "mlp_ratio": 2.5}, seed=5, dtype=torch.float16, prefix="module._orig_mod.")
    # One channel and a head of 256, the widest that is run.
    timm_case("timm_grey_wide", {**base, "img_size": (8, 8), "in_chans": 1, "embed_dim": 256, "num_heads": 1, "depth": 1, "mlp_ratio": 0.25}, seed=6)


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


def hf_cases():
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


def torchvision_case(name, seed, old_names=False, representation=None):
    torch.manual_seed(seed)
    model = torchvision.models.VisionTransformer(image_size=20, patch_size=4, num_layers=2, num_heads=3, hidden_dim=36, mlp_dim=60, num_classes=9, representation_size=representation)
    fill(model, seed)
    x = pixels(name, 20, 20)

    def run():
        tokens = torch.cat([model.class_token.expand(2, -1, -1), model._process_input(x)], dim=1)
        hidden = model.encoder(tokens)
        pooled = hidden[:, 0]
        for layer in list(model.heads)[:-1]:
            pooled = layer(pooled)
        return hidden, pooled

    (hidden, pooled), states = tap(list(model.encoder.layers), run)
    with torch.no_grad():
        logits = model(x)
    state = model.state_dict()
    if old_names:
        state = {key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value for key, value in state.items()}
    outputs = {"logits": logits, "last_hidden_state": hidden, "pooled": pooled}
    write(name, model, state, {"num_heads": 3}, x, outputs, states)


def full_size():
    """ViT-B/16 with the weights of random:vit_base_patch16_224@0."""
    model = timm.create_model("vit_base_patch16_224", pretrained=False).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(torch.from_numpy(timm_weight(name, tuple(parameter.shape), 0)))
        features = model.forward_features(pixels("vit_base_patch16_224", 224, 224, batch=1))
        golden = {"logits": model.forward_head(features), "pooled": features[:, 0]}
        # A stripe of the last state: every token, every 48th channel.
        golden["stripe"] = features[0, :, ::48]
    save_file({key: value.contiguous() for key, value in golden.items()}, HERE / "vit_base_patch16_224.safetensors")


if __name__ == "__main__":
    shutil.rmtree(MODELS, ignore_errors=True)
    timm_cases()
    hf_cases()
    torchvision_case("torchvision", 21)
    torchvision_case("torchvision_old_names_pre_logits", 22, old_names=True, representation=22)
    full_size()
    images.write()
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file())
    print(f"{size / 1e6:.2f} MB of goldens")
