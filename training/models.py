"""The student, a timm VisionTransformer, and the teacher, a convolutional network of the same input."""

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fault import Fault

# The name of an architecture that timm knows goes into config.json; every argument that matters is given beside it.
ARCHITECTURE = "vit_tiny_patch16_224"


def student_args(args, image_size: int) -> dict:
    """What the student differs in from `ARCHITECTURE`: timm's constructor arguments, as config.json keeps them."""
    if args.width % args.heads:
        raise Fault(f"--width {args.width} is not a multiple of --heads {args.heads}")
    if image_size % args.patch_size:
        raise Fault(f"the images' {image_size} px are not a multiple of --patch-size {args.patch_size}")
    return {
        "img_size": image_size,
        "patch_size": args.patch_size,
        "embed_dim": args.width,
        "depth": args.depth,
        "num_heads": args.heads,
        "mlp_ratio": args.mlp_ratio,
        "class_token": False,
        "global_pool": "avg",
    }


def student(model_args: dict, classes: int, drop_path: float = 0.0) -> nn.Module:
    """A ViT (arXiv:2010.11929) whose patch tokens are averaged, then normalised; `drop_path` grows over the blocks to that."""
    return timm.create_model(ARCHITECTURE, num_classes=classes, drop_path_rate=drop_path, **model_args)


class PreActBlock(nn.Module):
    """Pre-activation residual block (arXiv:1603.05027): (B, C, H, W) to (B, C', H / stride, W / stride).

    Where the shape changes, the shortcut averages before its 1x1 convolution instead of skipping (ResNet-D, arXiv:1812.01187).
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs or stride > 1 else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm1(x))
        short = x if self.shortcut is None else self.shortcut(self.pool(y))
        y = self.conv2(F.relu(self.norm2(self.conv1(y))))
        return short + y


class WideResNet(nn.Module):
    """Pre-activation ResNet of few, wide blocks (arXiv:1605.07146): images (B, 3, S, S) to logits (B, K).

    `stages` lists (width, blocks, stride of the first block).
    """

    def __init__(self, classes: int, stages: list[tuple[int, int, int]]):
        super().__init__()
        width = stages[0][0] // 2
        layers: list[nn.Module] = [nn.Conv2d(3, width, 3, 1, 1, bias=False)]
        for outputs, blocks, stride in stages:
            for block in range(blocks):
                layers.append(PreActBlock(width, outputs, stride if block == 0 else 1))
                width = outputs
        self.blocks = nn.Sequential(*layers)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.norm(self.blocks(x))).mean((2, 3)))


def teacher(classes: int, image_size: int, width: int) -> nn.Module:
    """WRN-16-8 at `width` 128 for up to 32 px; larger images are brought to 32 px by a narrow stage at full size."""
    stages = [(width, 2, 1), (2 * width, 2, 2), (4 * width, 2, 2)]
    if image_size > 32:
        stages = [(width // 2, 1, 1), (width, 2, image_size // 32), *stages[1:]]
    return WideResNet(classes, stages).to(memory_format=torch.channels_last)


def parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
