"""LoRA adapters in PEFT's format, each in a folder with its base model: what `merge_and_unload` gives is the golden.

The names of transformers' layers are those of the version that is installed, so those of version 5 are written by
generate_v5.py.
"""

import copy
import json
import shutil

import peft
import torch
import transformers
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from common import MODELS, fill, pixels, round_to, tap

V5 = int(transformers.__version__.split(".")[0]) >= 5


def train(model, seed):
    """Values like those of a trained adapter, so that every part of it changes the results."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if "lora_A" in name:
                parameter.copy_(0.6 * noise / parameter[0].numel() ** 0.5)
            elif "lora_B" in name:
                parameter.copy_(0.4 * noise)
            elif "lora_magnitude" in name:
                parameter.mul_(1 + 0.2 * noise)
            elif parameter.requires_grad:
                parameter.add_(0.2 * noise)


def adapt(name, base, model, config, seed, run, size, base_config=None, dtype=torch.float32, save=None):
    """Writes the base model, an adapter for `model`, and what the merged model gives. `run` is given that model and pixels."""
    folder = MODELS / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "base").mkdir(parents=True)
    round_to(base, dtype)
    round_to(model, dtype)
    stored = copy.deepcopy(base).to(dtype)
    if save:
        save(stored, folder / "base")
    elif hasattr(stored, "save_pretrained"):
        stored.save_pretrained(folder / "base")
    else:
        state = {key: value.contiguous() for key, value in stored.state_dict().items()}
        save_file(state, folder / "base/model.safetensors", metadata={"format": "pt"})
    if base_config:
        (folder / "base/config.json").write_text(json.dumps(base_config, indent=1))
    fresh = copy.deepcopy(model)
    trained = peft.get_peft_model(model, config)
    train(trained, seed)
    trained.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    file = folder / "adapter_config.json"
    written = {**json.loads(file.read_text()), "base_model_name_or_path": "base"}
    # PEFT keeps it as a set.
    if isinstance(written["target_modules"], list):
        written["target_modules"].sort()
    file.write_text(json.dumps(written, indent=1, sort_keys=True))
    merged = peft.PeftModel.from_pretrained(fresh, folder).merge_and_unload().eval()
    x = pixels(name, *size)
    outputs, states = run(merged, x)
    golden = {"pixel_values": x, **outputs, **{f"hidden_states.{i}": s for i, s in enumerate(states)}}
    save_file({key: value.detach().float().contiguous() for key, value in golden.items()}, folder / "golden.safetensors")


def hf_run(encoder_of, blocks_of, pooled_of):
    def run(model, x):
        encoder = encoder_of(model)
        with torch.no_grad():
            result = model(x, return_dict=True)
            hidden, states = tap(blocks_of(encoder), lambda: encoder(x, return_dict=True))
        outputs = {"last_hidden_state": hidden.last_hidden_state, "pooled": pooled_of(hidden)}
        if getattr(result, "logits", None) is not None:
            outputs["logits"] = result.logits
        return outputs, states

    return run


def timm_run(model, x):
    def forward():
        features = model.forward_features(x)
        return features, model.forward_head(features), model.forward_head(features, pre_logits=True)

    (features, logits, pooled), states = tap(model.blocks, forward)
    return {"logits": logits, "last_hidden_state": features, "pooled": pooled}, states


def layers(encoder):
    return encoder.layers if hasattr(encoder, "layers") else encoder.encoder.layers if hasattr(encoder.encoder, "layers") else encoder.encoder.layer


def vit(name, seed, config, bare=False, **options):
    sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40, image_size=[16, 24], patch_size=4)
    made = lambda cls, **more: cls(transformers.ViTConfig(**sizes, **more, attn_implementation="eager"))
    base = fill(made(transformers.ViTModel if bare else transformers.ViTForImageClassification, **({} if bare else {"num_labels": 5})), seed)
    whole = fill(made(transformers.ViTForImageClassification, num_labels=5), seed)
    (whole.vit if bare else whole).load_state_dict(base.state_dict(), strict=False)
    adapt(name, base, whole, config, seed, hf_run(lambda m: m.vit, layers, lambda h: h.last_hidden_state[:, 0]), (16, 24), **options)


def write_transformers(prefix):
    q, v, all_of_a_block = ("q_proj", "v_proj", ["q_proj", "v_proj", "o_proj", "fc1", "fc2"]) if V5 else ("query", "value", ["query", "value", "dense"])
    # A base without a head, whose names lack the prefix of the adapter's.
    vit(f"{prefix}_vit", 201, peft.LoraConfig(r=3, lora_alpha=5, target_modules=all_of_a_block, modules_to_save=["classifier"]), bare=True)
    # All biases, the patch embedding, patterns for ranks and scales, and a root.
    first = f".*0.*{q}"
    config = peft.LoraConfig(
        r=2, lora_alpha=3, target_modules=[q, v, "projection"], bias="all", use_rslora=True, exclude_modules=rf".*\.1\..*{v}",
        rank_pattern={first: 5}, alpha_pattern={first: 7, "projection": 2},
    )
    vit(f"{prefix}_vit_biases", 203, config, dtype=torch.bfloat16 if V5 else torch.float16)
    sizes = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, mlp_ratio=2, image_size=16, patch_size=4, attn_implementation="eager")
    base = fill(transformers.Dinov2ForImageClassification(transformers.Dinov2Config(**sizes, num_labels=4)), 205)
    targets = rf".*({q}|{v}|(dense|o_proj)|fc\d|projection|classifier)"
    run = hf_run(lambda m: m.dinov2, layers, lambda h: torch.cat([h.last_hidden_state[:, 0], h.last_hidden_state[:, 1:].mean(1)], 1))
    adapt(f"{prefix}_dinov2_dora", base, copy.deepcopy(base), peft.LoraConfig(r=3, target_modules=targets, use_dora=True), 206, run, (16, 16))
    # The images' tower of a model that has two.
    tower = dict(hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=40)
    text = {**tower, "vocab_size": 11, "max_position_embeddings": 5, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    config = transformers.CLIPConfig(vision_config={**tower, "image_size": 16, "patch_size": 4}, text_config=text, projection_dim=20)
    whole = fill(transformers.CLIPModel(config), 207)
    own = transformers.CLIPVisionModel(config.vision_config).eval()
    getattr(own, "vision_model", own).load_state_dict(whole.vision_model.state_dict())
    run = hf_run(lambda m: m, lambda m: layers(getattr(m, "vision_model", m)), lambda h: h.pooler_output)
    lora = peft.LoraConfig(r=2, target_modules=["q_proj", "out_proj", "fc2"], layers_to_transform=[1])
    adapt(f"{prefix}_clip", whole, own, lora, 208, run, (16, 16))


def write_timm():
    args = dict(img_size=(16, 24), patch_size=4, embed_dim=24, num_heads=3, depth=2, mlp_ratio=2)
    config = {"architecture": "vit_custom", "num_classes": 5, "model_args": args, "label_names": ["a", "b", "c", "d", "e"]}
    made = lambda classes: VisionTransformer(**args, num_classes=classes)
    base = fill(made(5), 211)
    targets = r"blocks\.\d+\.(attn\.(qkv|proj)|mlp\.fc[12])|patch_embed\.proj|head"
    lora = peft.LoraConfig(r=3, target_modules=targets, lora_bias=True, lora_alpha=6)
    adapt("peft_timm", base, copy.deepcopy(base), lora, 212, timm_run, (16, 24), base_config=config)
    other = fill(made(3), 211)
    body = {key: value for key, value in base.state_dict().items() if not key.startswith("head.")}
    other.load_state_dict(body, strict=False)
    lora = peft.LoraConfig(r=2, target_modules=["qkv"], modules_to_save=["head"], bias="lora_only")
    adapt("peft_timm_head", base, other, lora, 213, timm_run, (16, 24), base_config=config)


def write_open_clip():
    import open_clip
    import open_clip_models as clip

    settings = {"embed_dim": 20, "vision_cfg": {**clip.VISION, "image_size": [12, 16]}, "text_cfg": clip.TEXT}
    base, _ = clip.build(settings, 221)

    def save(model, folder):
        save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / open_clip.constants.HF_SAFE_WEIGHTS_NAME)
        clip.set_model_preprocess_cfg(model, {"size": model.visual.image_size, **clip.SHORTEST})
        clip.save_config_for_hf(model, folder / open_clip.constants.HF_CONFIG_NAME, settings)

    # Attention with one weight for q, k and v, whose wrapper also has the output projection.
    lora = peft.LoraConfig(r=2, target_modules=["attn", "c_fc", "conv1"])
    adapt("peft_open_clip", base, copy.deepcopy(base), lora, 222, lambda model, x: clip.outputs_of(model.visual, x), (12, 16), save=save)


def write_all():
    write_transformers("peft5" if V5 else "peft")
    if not V5:
        write_timm()
        write_open_clip()


if __name__ == "__main__":
    write_all()
