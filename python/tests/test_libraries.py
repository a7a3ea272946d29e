"""The same files through the package, and through the library that the model is of."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import CAT, MODELS
from PIL import Image
from safetensors.torch import load_file

import vit_gpu

TIMM = ["timm_plain", "timm_registers", "timm_prenorm_avg", "timm_pool_avgmax", "timm_qk_norm", "timm_test_vit2"]
TRANSFORMERS = ["hf_vit", "hf_deit", "hf_dinov2", "hf5_vit", "hf5_dinov2", "hf5_dinov2_swiglu"]


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
def test_transformers(name, tmp_path):
    import transformers

    folder = tmp_path / "model"
    shutil.copytree(MODELS / name, folder)
    if not (folder / "preprocessor_config.json").exists():
        height, width = vit_gpu.Classifier(folder, device="cpu").image_size
        processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": height, "width": width}}
        (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    load = transformers.AutoModelForImageClassification.from_pretrained
    model = load(folder, attn_implementation="eager", dtype=torch.float32).eval()
    # A model's files say whose arithmetic its preprocessing follows: see docs/models.md.
    backend = "torchvision" if name.startswith("hf5") else "pil"
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend=backend)
    with torch.no_grad():
        x = processor(Image.open(CAT).convert("RGB"), return_tensors="pt")["pixel_values"]
        logits = model(x).logits

    classifier = vit_gpu.Classifier(folder, device="cpu")
    same(classifier.logits(CAT), logits.numpy())
    best = classifier(CAT, top_k=1)[0]
    assert best.index == int(logits.argmax())
    assert best.score == pytest.approx(float(logits.softmax(-1)[0, best.index]), abs=1e-4)
