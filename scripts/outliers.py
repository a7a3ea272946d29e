"""Writes a ViT-B/16 with a few channels far larger than the rest, as trained ViTs have them, to try half precision on.

Sun et al., "Massive Activations in Large Language Models" (2024), section 5, report activations of some hundreds in a few
fixed channels of trained ViTs, beside a median below 1. The weights are those of `random:vit_base_patch16_224@0`, with biases
of that size added in three channels of the residual stream at block 3; what the norms see there is many times larger.

    python scripts/outliers.py FOLDER && vit-gpu verify --model FOLDER --precision f16

Needs numpy and safetensors.
"""

import json
import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tests" / "goldens"))
import hashed

WIDTH, DEPTH, HIDDEN, CLASSES = 768, 12, 3072, 1000
PLANTED = {77: 250.0, 410: -180.0, 650: 320.0}


def shapes():
    yield "cls_token", (1, 1, WIDTH)
    yield "pos_embed", (1, 197, WIDTH)
    yield "patch_embed.proj.weight", (WIDTH, 3, 16, 16)
    yield "patch_embed.proj.bias", (WIDTH,)
    for i in range(DEPTH):
        for name, shape in (
            ("norm1", (WIDTH,)),
            ("attn.qkv", (3 * WIDTH, WIDTH)),
            ("attn.proj", (WIDTH, WIDTH)),
            ("norm2", (WIDTH,)),
            ("mlp.fc1", (HIDDEN, WIDTH)),
            ("mlp.fc2", (WIDTH, HIDDEN)),
        ):
            yield f"blocks.{i}.{name}.weight", shape
            yield f"blocks.{i}.{name}.bias", shape[:1]
    for name, shape in (("norm", (WIDTH,)), ("head", (CLASSES, WIDTH))):
        yield f"{name}.weight", shape
        yield f"{name}.bias", shape[:1]


def main():
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: hashed.timm_weight(name, shape, 0) for name, shape in shapes()}
    for channel, value in PLANTED.items():
        tensors["blocks.3.mlp.fc2.bias"][channel] += value
    save_file({name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}, folder / "model.safetensors")
    config = {"architecture": "vit_base_patch16_224", "num_classes": CLASSES, "pretrained_cfg": {"input_size": [3, 224, 224]}}
    (folder / "config.json").write_text(json.dumps(config))


main()
