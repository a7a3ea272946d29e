"""Writes scores/: tiny classifiers of every `problem_type`, and what transformers' image-classification pipeline shows.

    pip install -r tests/goldens/requirements-v5.txt
    python tests/goldens/scores.py
"""

import json
import shutil

import torch
import transformers
from PIL import Image

from common import HERE, fill
from hashed import hashed

FOLDER = HERE / "scores"
SIZES = dict(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24, image_size=16, patch_size=8)
SEVERAL, REGRESSION, ONE = "multi_label_classification", "regression", "single_label_classification"


def vit(labels, problem):
    config = transformers.ViTConfig(**SIZES, num_labels=labels, problem_type=problem)
    return transformers.ViTForImageClassification(config), transformers.ViTImageProcessor(size={"height": 16, "width": 16})


def siglip(labels, problem):
    config = transformers.SiglipConfig(vision_config=SIZES, text_config={"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 24, "vocab_size": 8}, num_labels=labels, problem_type=problem)
    return transformers.SiglipForImageClassification(config), transformers.SiglipImageProcessor(size={"height": 16, "width": 16})


CASES = {
    "several": (vit, 5, SEVERAL),
    "one_class": (vit, 1, None),
    "regression": (vit, 5, REGRESSION),
    "regression_of_one": (vit, 1, REGRESSION),
    "exactly_one": (vit, 5, ONE),
    "nothing_said": (vit, 3, None),
    "siglip_several": (siglip, 3, SEVERAL),
}

if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    # The size of the models, so that nothing is resized.
    pixels = (hashed("scores", 16 * 16 * 3).reshape(16, 16, 3) * 127 + 128).astype("uint8")
    image = Image.fromarray(pixels)
    image.save(FOLDER / "image.png")
    expected = {}
    for seed, (name, (make, labels, problem)) in enumerate(CASES.items()):
        model, processor = make(labels, problem)
        fill(model, seed, small=1.0).save_pretrained(FOLDER / name)
        processor.save_pretrained(FOLDER / name)
        pipeline = transformers.pipeline("image-classification", model=model, image_processor=processor)
        with torch.no_grad():
            expected[name] = pipeline(image)
    (FOLDER / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
