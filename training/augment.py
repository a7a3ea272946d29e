"""Augmentation of whole batches by tensor code on the device, a draw of its own for every image.

RandAugment (Cubuk et al., arXiv:1909.13719) picks some of a list of operations for each image. Here each operation is drawn
for each image with a probability, and an image it was not drawn for gets the operation's neutral magnitude: no branch, no
index, no wait for the device. What is geometric becomes one affine map, sampled once.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass
class Augment:
    """How strong; `magnitude` 0 to 1 scales every operation, `ops` is how many an image gets on average."""

    ops: float
    magnitude: float
    min_area: float
    shift: float
    erase: float
    mixup: float
    cutmix: float
    mix_prob: float


def uniform(like: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
    """(B,) values, one for each image of a batch."""
    return torch.rand(len(like), device=like.device) * (high - low) + low


def drawn(like: Tensor, prob: float, value: Tensor, neutral: float) -> Tensor:
    """`value` for a share `prob` of the images, `neutral` for the others: (B, 1, 1, 1)."""
    return torch.where(uniform(like) < prob, value, neutral).view(-1, 1, 1, 1)


def geometry(x: Tensor, how: Augment, prob: float) -> Tensor:
    """One affine map of each of (B, 3, S, S): flip, shift by whole pixels, for some a resized crop, rotation and shear."""
    size = x.shape[-1]
    warp = uniform(x) < max(prob, 0.5 * how.magnitude)
    area = torch.where(warp, uniform(x, how.min_area, 1.0), 1.0)
    aspect = torch.where(warp, torch.exp(uniform(x, -1.0, 1.0) * math.log(4 / 3)), 1.0)
    width, height = (area * aspect).sqrt().clamp(max=1.0), (area / aspect).sqrt().clamp(max=1.0)
    angle = torch.where(uniform(x) < prob, uniform(x, -1.0, 1.0) * how.magnitude * math.pi / 6, 0.0)
    shear = torch.where(uniform(x) < prob, uniform(x, -0.3, 0.3) * how.magnitude, 0.0)
    flip = torch.where(uniform(x) < 0.5, -1.0, 1.0)

    def centre(side: Tensor) -> Tensor:
        offset = uniform(x, -1.0, 1.0) * (1 - side + 2 * how.shift)
        return torch.where(warp, offset, (offset * size / 2).round() * 2 / size)

    cos, sin = angle.cos(), angle.sin()
    row_x = torch.stack([flip * width * cos, height * (shear - sin), centre(width)], 1)
    row_y = torch.stack([flip * width * sin, height * cos, centre(height)], 1)
    grid = F.affine_grid(torch.stack([row_x, row_y], 1), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def colour(x: Tensor, how: Augment, prob: float) -> Tensor:
    """Brightness, contrast, saturation or grey, sharpness or blur, solarize, posterize; x (B, 3, S, S) in 0 to 1."""
    spread = 0.9 * how.magnitude

    def factor() -> Tensor:
        return drawn(x, prob, 1 + uniform(x, -spread, spread), 1.0)

    x = x * factor()
    centre = x.mean((1, 2, 3), keepdim=True)
    x = centre + (x - centre) * factor()
    grey = 0.299 * x[:, :1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:]
    x = grey + (x - grey) * factor() * drawn(x, prob * how.magnitude / 2, torch.zeros(len(x), device=x.device), 1.0)
    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = (blurred + (x - blurred) * factor()).clamp(0, 1)
    threshold = drawn(x, prob / 2, uniform(x, 1 - how.magnitude, 1.0), 2.0)
    x = torch.where(x >= threshold, 1 - x, x)
    levels = drawn(x, prob / 2, (2 ** uniform(x, 8 - 5 * how.magnitude, 8.0)).floor(), 255.0)
    return (x * levels).round() / levels


def box(x: Tensor, area: Tensor, aspect: Tensor) -> Tensor:
    """A rectangle of that share of each image, anywhere, cut at the border: (B, 1, S, S), true inside."""
    size = x.shape[-1]
    half_h, half_w = (area * aspect).sqrt() * size / 2, (area / aspect).sqrt() * size / 2
    at = torch.arange(size, device=x.device) + 0.5
    inside_y = (at - uniform(x, 0, size)[:, None]).abs() < half_h[:, None]
    inside_x = (at - uniform(x, 0, size)[:, None]).abs() < half_w[:, None]
    return inside_y[:, None, :, None] & inside_x[:, None, None, :]


def mix(x: Tensor, how: Augment, prob: float) -> tuple[Tensor, Tensor]:
    """Each image with its neighbour in the batch: mixup (arXiv:1710.09412) or cutmix (arXiv:1905.04899), drawn by image.

    Returns the images and the share (B,) each keeps of its own label; the other label is the next one of the batch.
    """
    def beta(alpha: float) -> Tensor:
        # Checking its arguments would wait for the device.
        value = torch.full((), alpha, device=x.device)
        return torch.distributions.Beta(value, value, validate_args=False).sample((len(x),))

    cut = torch.ones_like(x[:, :1])
    if how.cutmix > 0:
        cut = (~box(x, 1 - beta(how.cutmix), torch.ones(len(x), device=x.device))).to(x.dtype)
    keep = cut
    if how.mixup > 0:
        choose_cut = drawn(x, 0.5 if how.cutmix > 0 else 0.0, torch.ones(len(x), device=x.device), 0.0)
        keep = torch.where(choose_cut > 0, cut, beta(how.mixup).view(-1, 1, 1, 1))
    keep = torch.where(uniform(x).view(-1, 1, 1, 1) < prob, keep, 1.0)
    return x * keep + x.roll(-1, 0) * (1 - keep), keep.mean((1, 2, 3))


def batch(images: Tensor, how: Augment, mean: Tensor, std: Tensor, mixing: bool) -> tuple[Tensor, Tensor]:
    """(B, 3, S, S) uint8 into augmented, normalised float32 images and the share (B,) each keeps of its own label.

    `mean` and `std` are (1, 3, 1, 1), of values 0 to 1. `mixing` false leaves out mixup and cutmix.
    """
    x = images.float() / 255
    # Seven operations share the draw: rotation, shear, brightness, contrast, saturation, sharpness, solarize or posterize.
    prob = min(1.0, how.ops / 7)
    x = geometry(x, how, prob)
    if how.magnitude > 0 and prob > 0:
        x = colour(x, how, prob)
    x = (x - mean) / std
    if how.erase > 0:
        area, aspect = uniform(x, 0.02, 0.25), torch.exp(uniform(x, -1.0, 1.0))
        hole = box(x, area, aspect) & (uniform(x) < how.erase).view(-1, 1, 1, 1)
        x = torch.where(hole, torch.randn_like(x), x)
    if mixing and how.mix_prob > 0:
        return mix(x, how, how.mix_prob)
    return x, torch.ones(len(x), device=x.device)
