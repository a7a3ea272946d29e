"""timm models whose options the tensors' names do not tell, stored sizes that are not the run's, and older files."""

import json
import tempfile
from pathlib import Path

import timm
import torch
from timm.models._hub import save_config_for_hf
from timm.models.vision_transformer import VisionTransformer, checkpoint_filter_fn

from common import GELUS, fill, pixels, round_to, tap, write

# The sizes of every case that does not say otherwise: 3 × 4 patches, a head of 16.
SIZES = dict(img_size=[12, 16], patch_size=4, embed_dim=32, num_heads=2, depth=2, mlp_ratio=1.5, num_classes=6)


def config_of(model, arch, args, size, full):
    """config.json as timm writes it. Files before timm 1.0.31 list in `model_args` only what the maker gave (not `full`)."""
    shown = {key: value for key, value in args.items() if key != "num_classes"}
    if not arch:
        return {
            "architecture": "vit_custom",
            "num_classes": model.num_classes,
            "num_features": model.num_features,
            "global_pool": model.global_pool,
            "model_args": shown,
            "pretrained_cfg": {"input_size": [3, *size], "crop_pct": 0.9},
        }
    with tempfile.TemporaryDirectory() as folder:
        save_config_for_hf(model, f"{folder}/config.json")
        config = json.loads((Path(folder) / "config.json").read_text())
    config["pretrained_cfg"]["input_size"] = [3, *size]
    return config if full else {**config, "model_args": shown}


def variant(name, seed, arch=None, sizes=SIZES, table=None, run=None, edit=dict, full=False, small=0.02, adjust={}, **more):
    """`arch` by timm's registry, else the class itself. `table`: the size the file's positions are for, where the
    configuration names another; `run`: the size of the golden, where the configuration names another."""
    args = {**sizes, **more}
    build = lambda size: timm.create_model(arch, **{**args, "img_size": size}) if arch else VisionTransformer(**{**args, "img_size": size})
    pair = lambda size: (size, size) if isinstance(size, int) else tuple(size)
    named = pair(args["img_size"])
    stored = fill(build(table or named), seed, small, adjust)
    round_to(stored, torch.float16)
    state = edit(stored.state_dict())
    model = build(run or named).eval()
    # What timm does with a file that it loads: older names, positions resampled.
    model.load_state_dict(checkpoint_filter_fn(dict(state), model, adapt_layer_scale=True))
    x = pixels(name, *(run or named))

    def forward():
        features = model.forward_features(x)
        return features, model.forward_head(features), model.forward_head(features, pre_logits=True)

    (features, logits, pooled), states = tap(model.blocks, forward)
    outputs = {"last_hidden_state": features, "pooled": pooled, **({"logits": logits} if model.num_classes else {})}
    config = config_of(build(named), arch, args, named, full)
    write(name, model, state, config, x, outputs, states, dtype=torch.float16)


def write_all():
    sized = lambda keys: {key: SIZES[key] for key in keys}
    few = sized(("img_size", "patch_size", "embed_dim", "depth", "num_classes"))
    variant("timm_qk_norm", 101, qk_norm=True, proj_bias=False)
    variant("timm_swiglu_packed", 102, "vit_giant_patch14_reg4_dinov2", mlp_ratio=3.0)
    variant("timm_swiglu_split_rms", 103, "aimv2_large_patch14_224")
    variant("timm_parallel_scaling", 104, "vit_base_patch16_xp_224")
    variant("timm_parallel_scaling_bias", 105, "vit_pwee_patch16_reg1_gap_256", qkv_bias=True, full=True)
    variant("timm_parallel_things", 106, "vit_small_patch16_18x2_224", depth=1)
    # Its norms come after the branches: it is what these give that must be small for an eps to show, and not the tokens.
    little = {ending: (0.01, 0.0) for ending in ("attn.proj.bias", "attn.proj.weight", "fc2.weight", "fc2.bias")}
    variant("timm_res_post", 107, "vit_base_patch16_rpn_224", small=1.0, adjust=little)
    variant("timm_pool_map", 108, "vit_base_patch16_siglip_224", adjust=GELUS)
    variant("timm_pool_map_prefix", 109, "test_vit3")
    variant("timm_pool_max", 110, global_pool="max")
    variant("timm_pool_avgmax", 111, global_pool="avgmax", reg_tokens=2, no_embed_class=True)
    variant("timm_no_head", 112, "vit_small_patch14_dinov2", num_classes=0, full=True)
    variant("timm_no_pos", 113, pos_embed="none", adjust=GELUS)
    variant("timm_test_vit2", 114, "test_vit2", sizes=few)
    variant("timm_clip_quickgelu", 115, "vit_base_patch32_clip_quickgelu_224", small=0.005)
    deit3 = lambda state: {key.replace("ls1.gamma", "gamma_1").replace("ls2.gamma", "gamma_2"): value for key, value in state.items()}
    variant("timm_gamma_names", 116, "deit3_small_patch16_224", edit=deit3)
    flat = lambda state: {key: value.flatten(1) if key == "patch_embed.proj.weight" else value for key, value in state.items()}
    variant("timm_patch_2d", 117, edit=flat)
    variant("timm_resampled", 118, img_size=[16, 16], reg_tokens=1, run=(20, 28))
    variant("timm_resampled_square", 119, img_size=24, table=(16, 16))
