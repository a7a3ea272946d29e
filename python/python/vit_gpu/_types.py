"""Results as tuples with names."""

from typing import NamedTuple


class Prediction(NamedTuple):
    """A class of an image, with its score."""

    index: int
    """The class, from 0."""
    label: str | None
    """Its name, if the model has names."""
    score: float
    """A probability between 0 and 1, or the raw value of a regression: what the model's own library would show."""


class Adapter(NamedTuple):
    """A graphics adapter."""

    index: int
    """Its position in the list, which is a way to name the device."""
    name: str
    """The name that its driver gives."""
    kind: str
    """`discrete`, `integrated`, `virtual`, `software` or `other`."""
    backend: str
    """`Vulkan`, `Metal` or `DX12`."""
    driver: str
    """The driver and its version."""
    f16: bool
    """Whether it computes in f16."""
    is_software: bool
    """Whether it is software that computes on the processor. `auto` never takes such an adapter."""
