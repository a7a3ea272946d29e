"""Labels in words and vectors of texts, against transformers and the program."""

import json
import subprocess

import numpy as np
import pytest
import torch
from conftest import CAT, ROOT, SHAPES
from PIL import Image

import vit_gpu

WORDS = ROOT / "tests" / "goldens" / "words"
PHOTO = WORDS / "image0.png"
LABELS = ["a cat", "two parrots on a branch", "an empty sofa"]


@pytest.mark.parametrize("name", ["hf_clip", "hf_siglip"])
def test_transformers(name):
    import transformers

    folder = WORDS / name
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    processor = transformers.AutoProcessor.from_pretrained(folder, backend="pil")
    texts = [f"This is a photo of {label}." for label in LABELS]
    padding = "max_length" if "siglip" in name else True
    # The length of text is the model's where the tokenizer's files have none.
    length = model.config.text_config.max_position_embeddings
    inputs = processor(
        text=texts,
        images=Image.open(PHOTO).convert("RGB"),
        padding=padding,
        truncation=True,
        max_length=length,
        return_tensors="pt",
    )
    with torch.no_grad():
        outputs = model(**inputs)
    zero_shot = vit_gpu.ZeroShot(folder, LABELS, device="cpu")
    logits = outputs.logits_per_image.numpy()
    np.testing.assert_allclose(zero_shot.logits(PHOTO), logits, rtol=1e-4, atol=1e-4)
    scores = torch.tensor(logits[0])
    scores = scores.sigmoid() if "siglip" in name else scores.softmax(-1)
    for index, label, score in zero_shot(PHOTO):
        assert label == LABELS[index]
        assert score == pytest.approx(float(scores[index]), abs=1e-4)
    vectors = vit_gpu.Embedder(folder, device="cpu").texts(texts, normalize=True)
    np.testing.assert_allclose(vectors, outputs.text_embeds.numpy(), rtol=1e-4, atol=1e-4)


def test_the_program(program):
    labels = "blue triangle,blue square,red triangle,white star"
    image = SHAPES / "drawing.png"
    command = [program, "classify", image, "-m", SHAPES, "-d", "cpu", "-q", "-f", "json", "--labels", labels]
    out = subprocess.run(command, check=True, capture_output=True).stdout
    zero_shot = vit_gpu.ZeroShot(SHAPES, labels.split(","), device="cpu")
    ours = [prediction._asdict() for prediction in zero_shot(image)]
    assert ours == [pytest.approx(prediction) for prediction in json.loads(out)[0]["predictions"]]
    assert ours[0]["label"] == "blue triangle"


def test_templates_and_many_images():
    both = vit_gpu.ZeroShot(SHAPES, ["blue square"], templates=["a {}", "{}"], device="cpu")
    one = vit_gpu.ZeroShot(SHAPES, ["blue square"], templates="a {}", device="cpu")
    image = SHAPES / "drawing.png"
    assert both.logits(image)[0, 0] != one.logits(image)[0, 0]
    assert one.logits([image, CAT]).shape == (2, 1)
    assert [len(of_image) for of_image in one([image, CAT], top_k=3)] == [1, 1]
    assert one([image, "missing.png"], on_error="none")[1] is None
    assert one.labels == ["blue square"] and "ZeroShot" in repr(one)


def test_texts_of_one_and_of_none():
    embed = vit_gpu.Embedder(SHAPES, device="cpu")
    one = embed.texts("a blue square", normalize=True)
    assert one.shape == (1, embed.dim) and np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    assert embed.texts([]).shape == (0, embed.dim)
    assert (embed.texts(["a blue square", "a"], normalize=True)[0] == one[0]).all()


def test_errors():
    with pytest.raises(vit_gpu.ModelError, match="text"):
        vit_gpu.Embedder(device="cpu").texts("a cat")
    with pytest.raises(vit_gpu.ModelError, match="text"):
        vit_gpu.ZeroShot(ROOT / "tests" / "goldens" / "models" / "hf_vit", ["a cat"], device="cpu")
    with pytest.raises(vit_gpu.ArgumentError, match="no labels were given"):
        vit_gpu.ZeroShot(SHAPES, [], device="cpu")
    with pytest.raises(vit_gpu.ArgumentError, match=r"has no \{\} for the label"):
        vit_gpu.ZeroShot(SHAPES, ["a"], templates="photo", device="cpu")
    with pytest.raises(TypeError):
        vit_gpu.ZeroShot(SHAPES, [3], device="cpu")
