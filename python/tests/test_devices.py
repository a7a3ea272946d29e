"""Adapters, and a model on one of them."""

import numpy as np
import pytest
from conftest import CAT

import vit_gpu


def test_adapters_have_a_name_and_a_place():
    for place, adapter in enumerate(vit_gpu.adapters()):
        assert adapter.index == place and adapter.name
        assert adapter.backend in ("Vulkan", "Metal", "DX12")
        assert adapter.is_software == (adapter.kind == "software")


def test_every_adapter_gives_the_numbers_of_the_processor(classifier):
    adapters = vit_gpu.adapters()
    if not adapters:
        pytest.skip("there is no adapter")
    for adapter in adapters:
        other = vit_gpu.Classifier(device=adapter.index)
        assert other.device == adapter.name and other.note is None
        images = [CAT, np.zeros((9, 9, 3), np.uint8)] * 3
        np.testing.assert_allclose(other.logits(images), classifier.logits(images), rtol=1e-4, atol=1e-4)


def test_auto_says_what_it_took():
    classifier = vit_gpu.Classifier()
    assert (classifier.device == "cpu") == (classifier.note is not None)
    assert repr(classifier) == f"<vit_gpu.Classifier vit-nano-cifar10 on {classifier.device} in f32>"


def test_eight_bits(classifier):
    rounded = vit_gpu.Classifier(precision="i8")
    assert (rounded.device, rounded.precision) == ("cpu", "i8")
    assert rounded(CAT)[0].label == "cat"
    assert not (rounded.logits(CAT) == classifier.logits(CAT)).all()
