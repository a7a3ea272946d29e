"""What can go wrong. The text of every error is one line."""


class VitGpuError(Exception):
    """Any error of this package."""

    __module__ = "vit_gpu"


class ImageError(VitGpuError):
    """An image can't be read, is of another dtype, shape or type than expected, or its result is not finite."""

    __module__ = "vit_gpu"


class ModelError(VitGpuError):
    """A model can't be read or run, or lacks what it is asked for."""

    __module__ = "vit_gpu"


class DeviceError(VitGpuError):
    """No device matches the request, it lacks the precision, or it failed."""

    __module__ = "vit_gpu"


class ArgumentError(VitGpuError, ValueError):
    """An argument has a value that it can't have."""

    __module__ = "vit_gpu"
