"""Writes the golden files that the tests compare with, from PyTorch, timm, transformers, torchvision, open_clip,
vit-pytorch and Pillow.

    pip install -r tests/goldens/requirements.txt
    python tests/goldens/generate.py

Each model golden is a folder with the model as its library saves it, its configuration, and golden.safetensors: input,
taps, outputs. Models are tiny, with sizes that leave edges everywhere and values like a trained model's; every branch is
at least a tenth of the residual it joins, so that a dead block would show.
"""

import shutil

import huggingface_models
import huggingface_more
import images
import jax_models
import lucidrains_models
import meta_models
import open_clip_models
import peft_models
import photos
import positions
import teaching_models
import timm_models
import timm_variants
import torchvision_models
import torchvision_more
from common import HERE, MODELS

if __name__ == "__main__":
    # Those of transformers 5 are generate_v5.py's.
    for folder in MODELS.glob("*"):
        if not folder.name.startswith(("hf5_", "peft5_")):
            shutil.rmtree(folder)
    for module in (
        timm_models, timm_variants, huggingface_models, huggingface_more, torchvision_models, torchvision_more,
        meta_models, open_clip_models, jax_models, lucidrains_models, teaching_models, peft_models, positions,
    ):
        module.write_all()
    timm_models.full_size()
    images.write()
    photos.write()
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file())
    print(f"{size / 1e6:.2f} MB of goldens")
