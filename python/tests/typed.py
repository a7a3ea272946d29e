"""Uses everything that is public, for a type checker to read and for a test to run."""

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

import vit_gpu

path = Path(sys.argv[1])
array: NDArray[np.uint8] = np.zeros((8, 8, 3), np.uint8)
tensor = torch.zeros(3, 8, 8, dtype=torch.uint8)

classify = vit_gpu.Classifier(device="cpu", precision="f32", threads=1, image_size=(32, 32))
one: list[vit_gpu.Prediction] = classify(path)
maybe: list[vit_gpu.Prediction] | None = classify(path, on_error="none")
of_bytes: list[vit_gpu.Prediction] = classify(path.read_bytes(), 3)
of_pillow: list[vit_gpu.Prediction] = classify(Image.open(path), top_k=3)
many: list[list[vit_gpu.Prediction]] = classify([path, path])
texts: list[list[vit_gpu.Prediction]] = classify([str(path)])
mixed: list[list[vit_gpu.Prediction] | None] = classify((str(path), array, tensor), on_error="none")
of_array: list[vit_gpu.Prediction] = classify(array)
of_tensor: list[vit_gpu.Prediction] = classify(tensor)
logits: NDArray[np.float32] = classify.logits([path, array], on_error="none")
index, label, score = one[0]
number: int = one[0].index
name: str | None = one[0].label
labels: list[str | None] = classify.labels
facts: tuple[str, str, str, str | None] = (classify.model, classify.device, classify.precision, classify.note)
size: tuple[int, int] = classify.image_size

embed = vit_gpu.Embedder(None, device="cpu")
vectors: NDArray[np.float32] = embed([path], normalize=True)
tokens: NDArray[np.float32] = embed.tokens(array, layer=embed.depth)
width: int = embed.dim
about: tuple[str, str, str, str | None, tuple[int, int]] = (
    embed.model,
    embed.device,
    embed.precision,
    embed.note,
    embed.image_size,
)


def words(model: Path) -> None:
    zero_shot = vit_gpu.ZeroShot(model, ["a cat", "a dog"], templates="a photo of {}", device="cpu")
    best: list[vit_gpu.Prediction] = zero_shot(path, top_k=1)
    each: list[list[vit_gpu.Prediction]] = zero_shot([path])
    values: NDArray[np.float32] = zero_shot.logits([path])
    fits: list[str] = zero_shot.labels
    texts: NDArray[np.float32] = vit_gpu.Embedder(model).texts(["a cat"], normalize=True)
    facts: tuple[str, str, str, str | None] = (zero_shot.model, zero_shot.device, zero_shot.precision, zero_shot.note)
    print(best, each, values, fits, texts, facts, zero_shot.image_size)


adapters: list[vit_gpu.Adapter] = vit_gpu.adapters()
software: list[bool] = [adapter.is_software for adapter in adapters]
version: str = vit_gpu.__version__

try:
    classify("nowhere.png")
except vit_gpu.ImageError as error:
    assert isinstance(error, vit_gpu.VitGpuError)
for kind in (vit_gpu.ModelError, vit_gpu.DeviceError, vit_gpu.ArgumentError):
    assert issubclass(kind, vit_gpu.VitGpuError)

if len(sys.argv) > 2:
    words(Path(sys.argv[2]))
