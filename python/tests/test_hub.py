"""Models by name, from a cache in the layout of huggingface_hub."""

import shutil

import pytest
from conftest import CAT, ROOT

import vit_gpu

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache that has one model, and no network."""
    repository = tmp_path / "models--owner--nano"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        shutil.copy(ROOT / "assets" / "vit-nano-cifar10" / name, snapshot / name)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


def test_a_name_is_taken_from_the_cache(cache, classifier, monkeypatch, tmp_path):
    named = vit_gpu.Classifier(f"owner/nano@{COMMIT}", device="cpu")
    assert named(CAT) == classifier(CAT)
    # A path of the same name wins.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "nano").mkdir(parents=True)
    with pytest.raises(vit_gpu.ModelError):
        vit_gpu.Classifier("owner/nano", device="cpu")


def test_what_is_not_there_is_one_line(cache):
    with pytest.raises(vit_gpu.ModelError) as error:
        vit_gpu.Classifier("owner/other", device="cpu")
    assert "owner/other" in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(vit_gpu.ModelError, match="no/such/folder"):
        vit_gpu.Classifier("no/such/folder", device="cpu")
