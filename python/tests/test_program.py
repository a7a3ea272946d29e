"""The package gives the command line's numbers for the same image and model."""

import json
import subprocess

import pytest
from conftest import CAT, IMAGES, MODELS
from safetensors.numpy import load_file

import vit_gpu

CASES = [
    (None, CAT),
    (MODELS / "timm_plain", CAT),
    (MODELS / "hf_vit", CAT),
    (MODELS / "hf_vit", IMAGES / "exif6.jpg"),
    (MODELS / "timm_registers", IMAGES / "rgb.jpg"),
    (MODELS / "jax_vit" / "vit.npz", CAT),
]


@pytest.mark.parametrize(("model", "image"), CASES)
def test_logits_and_scores(program, tmp_path, model, image):
    named = ["-m", model] if model else []
    on = [*named, "-d", "cpu", "-q"]

    def run(*arguments):
        return subprocess.run([program, *arguments], check=True, capture_output=True).stdout

    run("preprocess", image, "-o", tmp_path / "x.safetensors", *named)
    run("forward", "-i", tmp_path / "x.safetensors", "-o", tmp_path / "y.safetensors", *on)
    theirs = load_file(tmp_path / "y.safetensors")
    classifier, embedder = vit_gpu.Classifier(model, device="cpu"), vit_gpu.Embedder(model, device="cpu")
    assert (classifier.logits(image) == theirs["logits"]).all()
    assert (embedder(image) == theirs["pooled"]).all()
    assert (embedder.tokens(image) == theirs["last_hidden_state"]).all()

    record = json.loads(run("classify", image, "-f", "json", "-k", "3", *on))[0]
    ours = [prediction._asdict() for prediction in classifier(image, top_k=3)]
    assert ours == [pytest.approx(prediction) for prediction in record["predictions"]]


def test_another_size(program, tmp_path):
    on = ["-d", "cpu", "--image-size", "48x40"]
    out = subprocess.run([program, "classify", CAT, "-f", "json", *on], check=True, capture_output=True).stdout
    classifier = vit_gpu.Classifier(device="cpu", image_size=(48, 40))
    assert classifier.image_size == (48, 40)
    best = json.loads(out)[0]["predictions"][0]
    assert classifier(CAT)[0].score == pytest.approx(best["score"])
    assert vit_gpu.Classifier(device="cpu", image_size=48).image_size == (48, 48)
