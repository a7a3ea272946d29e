from collections.abc import Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from vit_gpu._errors import ArgumentError as ArgumentError
from vit_gpu._errors import DeviceError as DeviceError
from vit_gpu._errors import ImageError as ImageError
from vit_gpu._errors import ModelError as ModelError
from vit_gpu._errors import VitGpuError as VitGpuError
from vit_gpu._types import Adapter as Adapter
from vit_gpu._types import Prediction as Prediction

__version__: str

class _PillowImage(Protocol):
    """A `PIL.Image.Image`; Pillow itself is not needed."""

    @property
    def mode(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]: ...
    def getexif(self) -> Any: ...

class _Tensor(Protocol):
    """A tensor that is shared through DLPack, such as a `torch.Tensor`."""

    def __dlpack_device__(self) -> tuple[Any, int]: ...
    @property
    def shape(self) -> Any: ...

# Either of these may be one image or a stack of them.
_Array: TypeAlias = NDArray[np.uint8] | _Tensor
_File: TypeAlias = str | PathLike[str] | bytes | bytearray | _PillowImage
_Image: TypeAlias = _File | _Array

class Classifier:
    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: str | int | None = "auto",
        precision: Literal["f32", "f16", "i8"] = "f32",
        threads: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ) -> None: ...
    # To a type checker, a str is a sequence of str too. The first two overloads take it.
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: _File,
        top_k: int = 5,
        *,
        on_error: Literal["raise"] = "raise",
    ) -> list[Prediction]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: _File,
        top_k: int = 5,
        *,
        on_error: Literal["none"],
    ) -> list[Prediction] | None: ...
    @overload
    def __call__(
        self,
        images: Sequence[_Image],
        top_k: int = 5,
        *,
        on_error: Literal["raise"] = "raise",
    ) -> list[list[Prediction]]: ...
    @overload
    def __call__(
        self,
        images: Sequence[_Image],
        top_k: int = 5,
        *,
        on_error: Literal["none"],
    ) -> list[list[Prediction] | None]: ...
    @overload
    def __call__(self, images: _Array, top_k: int = 5, *, on_error: Literal["raise", "none"] = "raise") -> Any:
        """A list of predictions for an array of one image; a list of such lists for a stack of images."""
    def logits(
        self,
        images: _Image | Sequence[_Image],
        *,
        on_error: Literal["raise", "none"] = "raise",
    ) -> NDArray[np.float32]: ...
    @property
    def model(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def labels(self) -> list[str | None]: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def note(self) -> str | None: ...

class Embedder:
    def __init__(
        self,
        model: str | PathLike[str] | None = None,
        *,
        device: str | int | None = "auto",
        precision: Literal["f32", "f16", "i8"] = "f32",
        threads: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ) -> None: ...
    def __call__(
        self,
        images: _Image | Sequence[_Image],
        normalize: bool = False,
        *,
        on_error: Literal["raise", "none"] = "raise",
    ) -> NDArray[np.float32]: ...
    def texts(self, texts: str | Sequence[str], normalize: bool = False) -> NDArray[np.float32]: ...
    def tokens(
        self,
        images: _Image | Sequence[_Image],
        layer: int | None = None,
        *,
        on_error: Literal["raise", "none"] = "raise",
    ) -> NDArray[np.float32]: ...
    @property
    def dim(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def note(self) -> str | None: ...

class ZeroShot:
    def __init__(
        self,
        model: str | PathLike[str],
        labels: Sequence[str],
        *,
        templates: str | Sequence[str] | None = None,
        device: str | int | None = "auto",
        precision: Literal["f32", "f16", "i8"] = "f32",
        threads: int | None = None,
        image_size: int | tuple[int, int] | None = None,
    ) -> None: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: _File,
        top_k: int = 5,
        *,
        on_error: Literal["raise"] = "raise",
    ) -> list[Prediction]: ...
    @overload
    def __call__(  # type: ignore[overload-overlap]
        self,
        images: _File,
        top_k: int = 5,
        *,
        on_error: Literal["none"],
    ) -> list[Prediction] | None: ...
    @overload
    def __call__(
        self,
        images: Sequence[_Image],
        top_k: int = 5,
        *,
        on_error: Literal["raise"] = "raise",
    ) -> list[list[Prediction]]: ...
    @overload
    def __call__(
        self,
        images: Sequence[_Image],
        top_k: int = 5,
        *,
        on_error: Literal["none"],
    ) -> list[list[Prediction] | None]: ...
    @overload
    def __call__(self, images: _Array, top_k: int = 5, *, on_error: Literal["raise", "none"] = "raise") -> Any:
        """A list of predictions for an array of one image; a list of such lists for a stack of images."""
    def logits(
        self,
        images: _Image | Sequence[_Image],
        *,
        on_error: Literal["raise", "none"] = "raise",
    ) -> NDArray[np.float32]: ...
    @property
    def model(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def precision(self) -> str: ...
    @property
    def labels(self) -> list[str]: ...
    @property
    def image_size(self) -> tuple[int, int]: ...
    @property
    def note(self) -> str | None: ...

def adapters() -> list[Adapter]: ...
