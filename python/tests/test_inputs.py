"""Every kind of image gives the same numbers."""

import io
import os

import numpy as np
import pytest
import torch
from conftest import CAT, IMAGES, ROOT
from PIL import Image

PIXELS = np.asarray(Image.open(CAT).convert("RGB"))
TENSOR = torch.from_numpy(PIXELS.copy()).permute(2, 0, 1).contiguous()


def mirrored_view():
    """The cat in an array whose rows run backwards in memory."""
    return np.ascontiguousarray(PIXELS[::-1, ::-1])[::-1, ::-1]


def locked():
    pixels = PIXELS.copy()
    pixels.flags.writeable = False
    return pixels


KINDS = {
    "str": str(CAT),
    "path": CAT,
    "relative path": os.path.relpath(CAT),
    "bytes": CAT.read_bytes(),
    "bytearray": bytearray(CAT.read_bytes()),
    "pillow": Image.open(CAT),
    "pillow with alpha": Image.open(CAT).convert("RGBA"),
    "array": PIXELS,
    "array in Fortran's order": np.asfortranarray(PIXELS),
    "array with negative strides": mirrored_view(),
    "read-only array": locked(),
    "tensor": TENSOR,
    "strided tensor": torch.from_numpy(PIXELS.copy()).permute(2, 0, 1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_one_image(classifier, embedder, kind):
    image = KINDS[kind]
    assert (classifier.logits(image) == classifier.logits(CAT)).all()
    assert (embedder(image) == embedder(CAT)).all()
    assert classifier(image) == classifier(CAT)
    assert classifier(image)[0].label == "cat"


def test_lists_and_stacks(classifier):
    one = classifier.logits(CAT)
    expected = np.repeat(one, len(KINDS), axis=0)
    assert (classifier.logits(list(KINDS.values())) == expected).all()
    assert (classifier.logits(tuple(KINDS.values())) == expected).all()
    predictions = classifier(list(KINDS.values()), top_k=3)
    assert predictions == [classifier(CAT, top_k=3)] * len(KINDS)
    assert (classifier.logits(np.stack([PIXELS] * 3)) == expected[:3]).all()
    assert (classifier.logits(torch.stack([TENSOR] * 3)) == expected[:3]).all()
    assert classifier(np.stack([PIXELS] * 2)) == [classifier(CAT)] * 2
    assert classifier(PIXELS[None]) == [classifier(CAT)]


def test_order_is_kept_over_many_batches(classifier):
    pixels = np.random.default_rng(0).integers(0, 256, (23, 40, 40, 3), np.uint8)
    alone = np.concatenate([classifier.logits(image) for image in pixels])
    together = classifier.logits(pixels)
    assert (together == alone).all()
    assert (classifier.logits(list(pixels)) == alone).all()


def test_no_images(classifier, embedder):
    assert classifier([]) == []
    assert classifier(np.zeros((0, 8, 8, 3), np.uint8)) == []
    assert classifier.logits([]).shape == (0, 10)
    assert embedder([]).shape == (0, embedder.dim)


def test_grey_is_replicated(classifier):
    grey = np.asarray(Image.open(CAT).convert("L"))
    logits = classifier.logits(np.stack([grey] * 3, axis=-1))
    assert (classifier.logits(grey) == logits).all()
    assert (classifier.logits(Image.fromarray(grey)) == logits).all()


def test_pillow_images_are_converted_and_turned_as_files_are(classifier):
    # Pillow makes 16-bit grey white where files keep its high byte, and decodes JPEG with another decoder.
    files = [path for path in sorted(IMAGES.iterdir()) if path.suffix != ".jpg" and path.stem != "grey16"]
    assert sum("exif" in path.name for path in files) >= 7
    for path in files:
        of_file, of_pillow = classifier.logits(path), classifier.logits(Image.open(path))
        assert (of_file == of_pillow).all(), path.name
        assert (of_file == classifier.logits(path.read_bytes())).all(), path.name


def test_a_file_from_memory(classifier):
    buffer = io.BytesIO()
    Image.open(CAT).save(buffer, "TIFF")
    assert classifier(buffer.getvalue()) == classifier(CAT)


def test_normalized_vectors_have_length_one(embedder):
    vectors = embedder([CAT, CAT], normalize=True)
    assert vectors.shape == (2, embedder.dim) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-6)


def test_tokens(embedder):
    last = embedder.tokens([CAT, CAT])
    assert last.dtype == np.float32 and last.ndim == 3 and (last[0] == last[1]).all()
    first = embedder.tokens(CAT, layer=0)
    assert first.shape == (1, *last.shape[1:]) and not np.allclose(first[0], last[0])


def test_the_results_are_plain_and_writable(classifier):
    logits = classifier.logits(CAT)
    assert type(logits) is np.ndarray and logits.dtype == np.float32 and logits.flags.c_contiguous
    logits[0, 0] = 7
    index, label, score = classifier(CAT)[0]
    assert (index, label) == (3, "cat") and 0.5 < score < 1
    assert classifier.labels[3] == "cat" and classifier.image_size == (32, 32)
    assert (classifier.device, classifier.precision, classifier.model) == ("cpu", "f32", "vit-nano-cifar10")
    assert len(classifier(CAT, top_k=99)) == 10
    assert (ROOT / "python").is_dir()
