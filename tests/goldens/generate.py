"""Writes the golden files that the tests compare with, from PyTorch, timm, transformers, torchvision and Pillow.

    pip install -r tests/goldens/requirements.txt
    python tests/goldens/generate.py

Each model golden is a folder with the model as its library saves it, its configuration, and golden.safetensors: input,
taps, outputs. Models are tiny, with sizes that leave edges everywhere and values like a trained model's; every branch is
at least a tenth of the residual it joins, so that a dead block would show.
"""

import shutil

import huggingface_models
import images
import timm_models
import torchvision_models
from common import HERE, MODELS

if __name__ == "__main__":
    shutil.rmtree(MODELS, ignore_errors=True)
    timm_models.write_all()
    huggingface_models.write_all()
    torchvision_models.write_all()
    timm_models.full_size()
    images.write()
    size = sum(file.stat().st_size for file in HERE.rglob("*") if file.is_file())
    print(f"{size / 1e6:.2f} MB of goldens")
