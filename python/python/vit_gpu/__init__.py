"""Vision Transformers on any GPU, or on the processor, from the safetensors files that you already have.

import vit_gpu

classify = vit_gpu.Classifier("path/to/model")
print(classify("cat.png"))
"""

from vit_gpu._errors import ArgumentError, DeviceError, ImageError, ModelError, VitGpuError
from vit_gpu._native import Classifier, Embedder, ZeroShot, __version__, adapters
from vit_gpu._types import Adapter, Prediction

__all__ = [
    "Adapter",
    "ArgumentError",
    "Classifier",
    "DeviceError",
    "Embedder",
    "ImageError",
    "ModelError",
    "Prediction",
    "VitGpuError",
    "ZeroShot",
    "__version__",
    "adapters",
]
