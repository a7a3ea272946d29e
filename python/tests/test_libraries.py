"""The same files through the package, and through the library that the model is of."""

import json

import numpy as np
import pytest
import torch
from conftest import CAT, MODELS
from PIL import Image
from safetensors.torch import load_file

import vit_gpu

TIMM = ["timm_plain", "timm_registers", "timm_prenorm_avg", "timm_pool_avgmax", "timm_qk_norm", "timm_test_vit2"]
TRANSFORMERS = ["hf_vit", "hf_deit", "hf_dinov2", "hf5_vit", "hf5_dinov2", "hf5_dinov2_registers"]


def same(ours, theirs):
    assert ours.shape == theirs.shape
    assert np.isfinite(theirs).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TIMM)
def test_timm(name):
    import timm
    from timm.data import create_transform, resolve_data_config
    from timm.models.vision_transformer import VisionTransformer

    config = json.loads((MODELS / name / "config.json").read_text())
    own = {"num_classes": config["num_classes"], "global_pool": config["global_pool"], **config["model_args"]}
    if timm.is_model(config["architecture"]):
        model = timm.create_model(config["architecture"], **own)
    else:
        model = VisionTransformer(**own)
    model.load_state_dict(load_file(MODELS / name / "model.safetensors"))
    model.eval()
    transform = create_transform(**resolve_data_config(pretrained_cfg=config["pretrained_cfg"]))
    with torch.no_grad():
        x = transform(Image.open(CAT).convert("RGB"))[None]
        features = model.forward_features(x)
        logits, pooled = model.forward_head(features), model.forward_head(features, pre_logits=True)

    same(vit_gpu.Classifier(MODELS / name, device="cpu").logits(CAT), logits.numpy())
    embedder = vit_gpu.Embedder(MODELS / name, device="cpu")
    same(embedder(CAT), pooled.numpy())
    same(embedder.tokens(CAT), features.numpy())
    assert embedder.tokens(CAT, layer=embedder.depth).shape == features.shape


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_transformers(name):
    import transformers

    folder = MODELS / name
    model = transformers.AutoModelForImageClassification.from_pretrained(folder, attn_implementation="eager").eval()
    classifier = vit_gpu.Classifier(folder, device="cpu")
    height, width = classifier.image_size
    if (folder / "preprocessor_config.json").exists():
        processor = transformers.AutoImageProcessor.from_pretrained(folder)
        x = processor(Image.open(CAT).convert("RGB"), return_tensors="pt")["pixel_values"]
        images = CAT
    else:
        # Without a file that says how, images of the model's size need no resizing, and any mean will do.
        pixels = np.asarray(Image.open(CAT).convert("RGB").resize((width, height)))
        x = plain(folder, pixels)
        images = pixels
    with torch.no_grad():
        result = model(x)
    same(classifier.logits(images), result.logits.numpy())
    best = classifier(images, top_k=1)[0]
    assert best.index == int(result.logits.argmax())
    probability = float(result.logits.softmax(-1)[0, best.index])
    assert best.score == pytest.approx(probability, abs=1e-4)


def plain(folder, pixels):
    """What the package's defaults make of pixels that need no resizing."""
    import transformers

    kind = json.loads((folder / "config.json").read_text())["model_type"]
    if kind.startswith("dinov2"):
        mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    elif kind == "deit":
        mean, std = transformers.DeiTImageProcessor().image_mean, transformers.DeiTImageProcessor().image_std
    else:
        mean, std = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
    x = (torch.from_numpy(pixels.copy()).float() / 255 - torch.tensor(mean)) / torch.tensor(std)
    return x.permute(2, 0, 1)[None]
