"""The libraries that models are drawn from, and what a module of one hands over.

A module has `NAME`, `DEFAULTS` (option name to default value), `draw(rng)` (options, as JSON can carry them),
`make(options, folder)` (saves `folder/model` and returns a `Case`) and `refusable(options)` (the reason for which
vit-gpu may refuse these options by design, or None).
"""

import importlib
from dataclasses import dataclass, field

import numpy as np

MODULES = {
    "timm-class": "timm_class",
    "timm-arch": "timm_arch",
    "torchvision": "torchvision_vit",
    "huggingface": "huggingface",
    "open-clip": "open_clip_models",
    "vit-pytorch": "vit_pytorch_models",
}


class Invalid(Exception):
    """The library itself refuses these options, or can't run them: they are drawn anew and not counted."""


@dataclass
class Case:
    """A saved model's inputs (`pixel_values` at least), the library's own outputs, and arguments that vit-gpu needs."""

    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    extra_args: list[str] = field(default_factory=list)


def load(name: str):
    """The module of a library, by its name on the command line."""
    return importlib.import_module(f"{__name__}.{MODULES[name]}")
