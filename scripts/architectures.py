"""Writes src/model/architectures.csv: the constructor arguments of every timm architecture that is a VisionTransformer here;
src/model/other_architectures.txt: the names of those whose tensors could be mistaken for one; and
src/model/renamed_architectures.txt: the names that timm has given up.

    pip install timm==1.0.31 torch
    python scripts/architectures.py

The table holds what each entry point of timm passes to the constructor, not what the constructor makes of it: an option of
the user's may change what another option's default resolves to. An empty cell stands for the constructor's default.
Models are built without storage (the meta device); `params` is timm's own count, which a test compares with the crate's.
"""

import functools
import inspect
import sys
from pathlib import Path

import timm
import torch
from timm.layers import get_norm_layer
from timm.models._registry import _deprecated_models
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

ACTS = {"GELU": "gelu", "GELUTanh": "gelu_tanh", "QuickGELU": "quick_gelu", "SiLU": "silu", "ReLU": "relu"}
NORMS = {"LayerNorm": "layernorm", "RmsNorm": "rmsnorm", "LayerNormFp32": "layernorm", "RmsNormFp32": "rmsnorm"}
BLOCKS = {"Block", "ResPostBlock", "ParallelScalingBlock", "ParallelThingsBlock"}
# Those the crate's `Arguments` reads; any other that is passed leaves the architecture out.
COLUMNS = (
    "img_size patch_size embed_dim depth num_heads mlp_ratio mlp_layer act_layer norm_layer norm_eps embed_norm_layer block_fn class_token"
    " reg_tokens no_embed_class pre_norm qkv_bias qk_norm proj_bias scale_attn_norm scale_mlp_norm init_values global_pool"
    " pool_include_prefix final_norm fc_norm dynamic_img_size own_img_size"
).split()
NO_MATTER = {"in_chans", "num_classes", "weight_init", "fix_init", "drop_rate", "drop_path_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate", "dynamic_img_pad", "device", "dtype"}

passed: dict = {}


def spy(cls):
    original = cls.__init__

    @functools.wraps(original)
    def init(self, *args, **kwargs):
        assert not args
        passed.clear()
        passed.update(kwargs)
        original(self, **kwargs)

    cls.__init__ = init


def layer(value):
    """Class and keyword arguments of a layer that is passed as a class, a partial of one, or a name."""
    if isinstance(value, str):
        return get_norm_layer(value), {}
    if isinstance(value, functools.partial):
        return value.func, dict(value.keywords)
    return value, {}


def cells(args: dict) -> dict:
    args = {name: value for name, value in args.items() if value is not None and name not in NO_MATTER}
    row = {}
    for name, value in args.items():
        if name in ("norm_layer", "embed_norm_layer"):
            cls, keywords = layer(value)
            kind = NORMS[cls.__name__]
            eps = keywords.pop("eps", inspect.signature(cls).parameters["eps"].default)
            assert not keywords
            if name == "norm_layer":
                row["norm_eps"] = eps
            else:
                row["embed_norm_eps"] = eps
            row[name] = kind
        elif name == "act_layer":
            row[name] = value if isinstance(value, str) else ACTS[value.__name__]
        elif name == "mlp_layer":
            cls, keywords = layer(value)
            packed = cls.__name__ == "GluMlp" and keywords.pop("gate_last", True) is False
            keywords.pop("act_layer", None)  # The block passes its own.
            row[name] = "SwiGLUPacked" if packed else cls.__name__
            keywords.pop("align_to", None)  # Seen in the hidden width: `mlp_ratio` is checked below.
            assert not keywords, keywords
        elif name == "block_fn":
            cls, keywords = layer(value)
            assert keywords in ({}, {"num_parallel": 2}) and cls.__name__ in BLOCKS, keywords
            row[name] = cls.__name__
        elif name == "init_values":
            row[name] = value
        elif name in COLUMNS:
            row[name] = int(value) if isinstance(value, bool) else value
        else:
            raise KeyError(name)
    # Both kinds of norm share one epsilon in the crate.
    assert row.pop("embed_norm_eps", row.get("norm_eps", 1e-6)) == row.get("norm_eps", 1e-6)
    assert row.get("embed_norm_layer", row.get("norm_layer", "layernorm")) == row.get("norm_layer", "layernorm")
    return row


def main() -> None:
    spy(VisionTransformer)
    rows, others = [",".join(["name", *COLUMNS, "distilled", "num_classes", "params"])], []
    for name in timm.list_models():
        try:
            with torch.device("meta"):
                model = timm.create_model(name)
        except Exception as error:
            print(f"not made: {name} ({error!r})", file=sys.stderr)
            continue
        try:
            assert timm.model_entrypoint(name).__module__ in ("timm.models.vision_transformer", "timm.models.deit")
            assert type(model) in (VisionTransformer, VisionTransformerDistilled)
            row = cells(dict(passed))
            size, patch = model.patch_embed.img_size, model.patch_embed.patch_size
            assert size[0] == size[1] and patch[0] == patch[1]
            row.update(img_size=size[0], patch_size=patch[0])
            # A size that the architecture itself passes holds against that of the pretrained weights.
            trained = (3, 4 * patch[0], 4 * patch[0])
            with torch.device("meta"):
                timm.create_model(name, pretrained_cfg_overlay={"input_size": trained, "fixed_input_size": True})
            own = passed.get("img_size", trained[1:])
            if (own if isinstance(own, (tuple, list)) else (own, own)) not in (trained[1:], list(trained[1:])):
                row.update(own_img_size=1)
            params = sum(p.numel() for p in model.parameters())
            distilled = int(isinstance(model, VisionTransformerDistilled))
            rows.append(",".join(map(str, [name, *(row.get(column, "") for column in COLUMNS), distilled, model.num_classes, params])))
        except (KeyError, AssertionError, AttributeError):
            if any(parameter == "patch_embed.proj.weight" for parameter, _ in model.named_parameters()):
                others.append(name)
    folder = Path(__file__).parent.parent / "src/model"
    (folder / "architectures.csv").write_text("\n".join(rows) + "\n")
    names = {row.split(",")[0] for row in rows[1:]}
    renamed = [(old, new.split(".")[0]) for old, new in sorted(_deprecated_models.items()) if new]
    renamed = [f"{old} {new}" for old, new in renamed if new in names]
    (folder / "renamed_architectures.txt").write_text("\n".join(renamed) + "\n")
    (folder / "other_architectures.txt").write_text("\n".join(others) + "\n")


if __name__ == "__main__":
    main()
