"""timm VisionTransformer and distilled DeiT: a golden for every option that changes the numbers."""

import timm
import torch
from safetensors.torch import save_file
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from common import HERE, fill, pixels, round_to, tap, write
from hashed import timm_weight


def timm_case(name, args, distilled=False, seed=0, dtype=torch.float32, prefix="", json_args=None):
    model = fill((VisionTransformerDistilled if distilled else VisionTransformer)(**args), seed)
    round_to(model, dtype)
    height, width = args["img_size"]
    x = pixels(name, height, width, chans=args.get("in_chans", 3))

    def run():
        features = model.forward_features(x)
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


def write_all():
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
