"""Errors are exceptions of the package's own, of one line."""

import numpy as np
import pytest
import torch
from conftest import CAT, MODELS
from PIL import Image

import vit_gpu

GOOD = np.zeros((8, 8, 3), np.uint8)
BAD_IMAGES = {
    "no such file": ("nowhere.png", "nowhere.png: "),
    "no image": (__file__, "not an image"),
    "empty": (b"", "empty"),
    "cut short": (CAT.read_bytes()[:500], "image: "),
    "floats": (np.zeros((8, 8, 3), np.float32), "the values are float32, but uint8"),
    "booleans": (np.zeros((8, 8), bool), "the values are bool"),
    "four channels": (np.zeros((8, 8, 4), np.uint8), "[8, 8, 4], but [H, W, 3] or [H, W]"),
    "one axis": (np.zeros(8, np.uint8), "shape [8]"),
    "no pixels": (np.zeros((0, 8, 3), np.uint8), "image: "),
    "channels last": (torch.zeros(8, 8, 3, dtype=torch.uint8), "[8, 8, 3], but [3, H, W]"),
    "tensor of floats": (torch.zeros(3, 8, 8), "the values are float32"),
    "tensor of bfloat16": (torch.zeros(3, 8, 8, dtype=torch.bfloat16), "DLPack"),
    "tensor without memory": (torch.zeros(3, 8, 8, dtype=torch.uint8, device="meta"), "tensor"),
    "number": (3, "int is no image"),
    "nothing": (None, "NoneType is no image"),
    "class": (torch.Tensor, "is no image"),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_images(classifier, embedder, kind):
    image, text = BAD_IMAGES[kind]
    with pytest.raises(vit_gpu.ImageError) as error:
        classifier(image)
    assert text in str(error.value) and "\n" not in str(error.value)
    # In a list, the error names the place, unless the image has a name.
    with pytest.raises(vit_gpu.ImageError, match=r"image 6: |\.(png|py): "):
        embedder([GOOD] * 6 + [image])
    assert classifier(image, on_error="none") is None
    results = classifier([GOOD] * 6 + [image, CAT], on_error="none")
    assert [result is None for result in results] == [False] * 6 + [True, False]
    assert results[7][0].label == "cat"
    logits = classifier.logits([GOOD, image, CAT], on_error="none")
    assert np.isnan(logits).all(axis=1).tolist() == [False, True, False]
    assert np.isnan(embedder.tokens(image, on_error="none")).all()


class Elsewhere:
    """A tensor that says it is in a GPU's memory."""

    def __dlpack_device__(self):
        return (2, 0)

    def __dlpack__(self, **_):
        raise AssertionError("the memory was asked for")


def test_a_tensor_on_a_gpu(classifier):
    with pytest.raises(vit_gpu.ImageError, match=r"image: .*processor's memory: use tensor\.cpu\(\)"):
        classifier(Elsewhere())


def test_a_truncated_pillow_image(classifier, tmp_path):
    path = tmp_path / "cut.png"
    path.write_bytes(CAT.read_bytes()[: CAT.stat().st_size // 2])
    with pytest.raises(vit_gpu.ImageError, match="image: OSError"):
        classifier(Image.open(path))


def test_interrupts_are_not_taken_for_errors_of_an_image(classifier):
    class Interrupting:
        def __dlpack_device__(self):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        classifier([GOOD, Interrupting()], on_error="none")


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"model": "nowhere"}, vit_gpu.ModelError, "nowhere"),
        ({"model": CAT}, vit_gpu.ModelError, "cat.png"),
        ({"model": MODELS / "timm_no_head"}, vit_gpu.ModelError, "no classification head"),
        ({"image_size": (0, 7)}, vit_gpu.ModelError, "0"),
        ({"device": "no such adapter"}, vit_gpu.DeviceError, "no such adapter"),
        ({"device": 99}, vit_gpu.DeviceError, "99"),
        ({"device": "cpu", "precision": "f16"}, vit_gpu.DeviceError, "f16"),
        ({"precision": "f8"}, vit_gpu.ArgumentError, "f8"),
    ],
)
def test_constructors(options, error, text):
    with pytest.raises(error, match=text) as raised:
        vit_gpu.Classifier(**options)
    assert "\n" not in str(raised.value)
    assert isinstance(raised.value, vit_gpu.VitGpuError)


def test_arguments(classifier, embedder):
    for call in [
        lambda: classifier(CAT, top_k=0),
        lambda: classifier(CAT, top_k=-1),
        lambda: classifier(CAT, on_error="skip"),
        lambda: embedder.tokens(CAT, layer=embedder.depth + 1),
    ]:
        with pytest.raises(vit_gpu.ArgumentError) as error:
            call()
        assert isinstance(error.value, ValueError)
    with pytest.raises(TypeError):
        vit_gpu.Classifier(None, "cpu")
    for name in ["VitGpuError", "ImageError", "ModelError", "DeviceError", "ArgumentError"]:
        assert getattr(vit_gpu, name).__module__ == "vit_gpu"


def test_an_image_of_an_impossible_shape_fails_alone():
    classifier = vit_gpu.Classifier(MODELS / "timm_plain", device="cpu")
    line = np.zeros((1, 60000, 3), np.uint8)
    results = classifier([line.transpose(1, 0, 2), GOOD], on_error="none")
    assert results[1] is not None
