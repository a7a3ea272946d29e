"""Weights for inference, as timm and vit-gpu read them: config.json, model.safetensors (f16, timm's names), training.json."""

import copy
import json
import platform
from pathlib import Path

import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import models
import state
from data import Dataset


@torch.inference_mode()
def accuracy(model: nn.Module, data: Dataset, batch_size: int = 1000, batches: int | None = None) -> float:
    """Share of the held-out images whose first class is right, with the weights rounded to f16 as exported, in f32.

    `batches` stops after that many, to see how long it takes.
    """
    mean, std = normalisation(data)
    model = copy.deepcopy(model).eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(tensor.half())
    right = 0
    for images, labels in list(zip(data.test.split(batch_size), data.test_labels.split(batch_size)))[:batches]:
        right += (model((images.float() / 255 - mean) / std).argmax(1) == labels).sum()
    return int(right) / len(data.test)


def normalisation(data: Dataset) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation as (1, 3, 1, 1) on the data's device."""
    return tuple(torch.tensor(data.about[name], device=data.train.device).view(1, 3, 1, 1) for name in ("mean", "std"))


def write(phase: dict, out: Path) -> None:
    """Writes the three files of a student's checkpoint."""
    out.mkdir(parents=True, exist_ok=True)
    about, size = phase["about"], phase["about"]["image_size"]
    weights = {name: tensor.cpu().half().contiguous() for name, tensor in phase["ema"].items()}
    classes = len(about["labels"])
    config = {
        "architecture": models.ARCHITECTURE,
        "num_classes": classes,
        "num_features": phase["model_args"]["embed_dim"],
        "label_names": about["labels"],
        "test_accuracy": phase["accuracy"],
        "model_args": phase["model_args"],
        "pretrained_cfg": {
            "input_size": [3, size, size],
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": about["mean"],
            "std": about["std"],
            "num_classes": classes,
            "first_conv": "patch_embed.proj",
            "classifier": "head",
        },
    }
    training = {
        "data": {name: value for name, value in about.items() if name not in ("labels", "mean", "std")},
        "finished": phase["done"],
        "accuracy": phase["accuracy"],
        "accuracy_of": f"f16-rounded EMA weights of the last step, f32 arithmetic, split `{about['held_out']}`",
        "parameters": sum(tensor.numel() for tensor in weights.values()),
        "steps": phase["step"],
        "images_seen": phase["images"],
        "seconds": round(phase["elapsed"], 1),
        "teacher": phase["teacher"],
        "recipe": phase["recipe"],
        "recipe_sha256": phase["recipe_sha256"],
        "seed": phase["recipe"]["seed"],
        "device": phase["device"],
        "versions": {"python": platform.python_version(), "torch": torch.__version__, "timm": timm.__version__},
    }
    state.replace(out / "model.safetensors", lambda path: save_file(weights, path, metadata={"format": "pt"}))
    (out / "model.safetensors").chmod(0o644)  # safetensors writes it for its owner alone
    for name, content in (("config.json", config), ("training.json", training)):
        text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
        state.replace(out / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))
