"""What the image processors of transformers 5 make of an image, and torchvision's resize of bytes beneath them.

Run by generate_v5.py, on a processor with AVX2 or better: without, torchvision resizes in float and rounds.
"""

import json

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torchvision.transforms.v2 import functional

from common import HERE
from images import noise

IMAGES = [(61, 47), (40, 90)]
# width, height → width, height; the first six are in images.py too.
SIZES = [
    ((37, 53), (19, 20)), ((37, 53), (64, 90)), ((50, 40), (50, 13)), ((50, 40), (17, 40)), ((128, 96), (32, 24)), ((300, 2), (5, 40)),
    ((2, 300), (40, 5)), ((23, 17), (24, 16)), ((97, 89), (3, 2)), ((31, 1), (8, 8)),
]


def resize_vectors():
    modes = {"bilinear": functional.InterpolationMode.BILINEAR, "bicubic": functional.InterpolationMode.BICUBIC}
    out = {}
    for (w, h), (to_w, to_h) in SIZES:
        image = torch.from_numpy(np.array(noise(f"resize {w}x{h}", w, h)))
        for name, mode in modes.items():
            # As the processors do it (contiguous), and as torchvision's own pil_to_tensor leaves an image (channels last).
            planes, pixels = (functional.resize(x, [to_h, to_w], mode, antialias=True) for x in (image.permute(2, 0, 1).contiguous(), image.permute(2, 0, 1)))
            assert torch.equal(planes, pixels)
            out[f"{name} {w}x{h} {to_w}x{to_h}"] = planes.permute(1, 2, 0).contiguous()
    save_file(out, HERE / "resize_torch.safetensors")


def processors():
    vit, deit, bit, clip, siglip = (getattr(transformers, f"{name}ImageProcessor") for name in ("ViT", "DeiT", "Bit", "CLIP", "Siglip"))
    square = lambda side: {"height": side, "width": side}
    made = {
        "v5_vit": vit(size={"height": 20, "width": 28}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.25]),
        "v5_vit_no_normalize": vit(size=square(20), do_normalize=False),
        "v5_vit_no_rescale": vit(size=square(20), do_rescale=False, image_mean=[100, 110, 120], image_std=[50, 60, 70]),
        "v5_deit": deit(size=square(37), crop_size=square(26)),
        "v5_deit_pads": deit(size=square(20), crop_size={"height": 25, "width": 17}),
        "v5_bit": bit(size={"shortest_edge": 36}, crop_size=square(25)),
        "v5_clip": clip(size={"shortest_edge": 24}, crop_size=square(24)),
        "v5_siglip": siglip(size=square(24)),
    }
    out = {}
    for name, processor in made.items():
        assert processor.backend == "torchvision"
        for w, h in IMAGES:
            values = processor(noise(f"transform {w}x{h}", w, h), return_tensors="pt")["pixel_values"][0]
            assert values.isfinite().all()
            out[f"{name} {w}x{h}"] = values.float().contiguous()
    save_file(out, HERE / "processors_v5.safetensors")
    shown = {name: {"preprocessor_config.json": json.loads(processor.to_json_string())} for name, processor in made.items()}
    (HERE / "processors_v5.json").write_text(json.dumps(shown, indent=1))


def write():
    assert transformers.__version__.startswith("5."), "transformers 4 resizes with Pillow"
    assert torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512"), "torchvision would resize in float"
    resize_vectors()
    processors()
