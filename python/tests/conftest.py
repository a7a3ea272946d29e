"""Files that the tests share. They are those of the checkout that this folder is in."""

import os
from pathlib import Path

import pytest

import vit_gpu

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "goldens" / "models"
IMAGES = ROOT / "tests" / "goldens" / "images"
SHAPES = ROOT / "tests" / "goldens" / "shapes"
CAT = ROOT / "assets" / "cat.png"


@pytest.fixture(scope="session")
def classifier():
    """The model within the package, on the processor."""
    return vit_gpu.Classifier(device="cpu")


@pytest.fixture(scope="session")
def embedder():
    return vit_gpu.Embedder(device="cpu")


@pytest.fixture(scope="session")
def program():
    """The command line's program, which VIT_GPU_BINARY names."""
    path = os.environ.get("VIT_GPU_BINARY")
    if not path:
        pytest.skip("VIT_GPU_BINARY is not set")
    return path
