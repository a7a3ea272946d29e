"""Golden images: what Pillow decodes, resizes and transforms, and what timm's and transformers' pipelines make of it."""

import io
import json
import shutil
from pathlib import Path

import numpy as np
import torch
import transformers
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from timm.data import create_transform

from hashed import hashed_bytes

HERE = Path(__file__).parent
FILTERS = {"nearest": 0, "lanczos": 1, "bilinear": 2, "bicubic": 3, "box": 4, "hamming": 5}


def noise(name, width, height, chans=3):
    data = hashed_bytes(name, width * height * chans).reshape(height, width, chans)
    return Image.fromarray(data if chans > 1 else data[:, :, 0])


def smooth(name, width, height):
    """A picture rather than noise: enlarged noise, so that JPEG keeps it."""
    return noise(name, 5, 4).resize((width, height), Image.Resampling.BICUBIC)


def resize_vectors():
    sizes = [
        ((37, 53), (19, 20)), ((37, 53), (64, 90)), ((50, 40), (50, 13)), ((50, 40), (17, 40)), ((1, 1), (7, 5)),
        ((31, 1), (8, 8)), ((1, 29), (4, 9)), ((300, 2), (5, 40)), ((2, 300), (40, 5)), ((3, 310), (3, 9)),
        ((3, 310), (2, 400)), ((64, 48), (64, 48)), ((97, 89), (1, 1)), ((23, 17), (24, 16)), ((128, 96), (32, 24)),
    ]
    out = {}
    for (w, h), (to_w, to_h) in sizes:
        image = noise(f"resize {w}x{h}", w, h)
        for name, number in FILTERS.items():
            resized = image.resize((to_w, to_h), Image.Resampling(number))
            out[f"{number} {w}x{h} {to_w}x{to_h}"] = np.asarray(resized)
    save_file(out, HERE / "resize.safetensors")


def decode_files():
    folder = HERE / "images"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    expected = {}

    def keep(file, image=None, **options):
        path = folder / file
        if image is not None:
            image.save(path, **options)
        expected[file] = np.asarray(Image.open(path).convert("RGB"))

    colour = noise("colour", 13, 9)
    alpha = noise("alpha", 13, 9, 1)
    keep("rgb.png", colour)
    keep("rgba.png", Image.merge("RGBA", (*colour.split(), alpha)))
    keep("grey.png", alpha)
    keep("grey_alpha.png", Image.merge("LA", (alpha, noise("a2", 13, 9, 1))))
    keep("palette.png", colour.quantize(17))
    keep("palette_alpha.png", colour.quantize(9), transparency=3)
    keep("bit.png", alpha.convert("1"))
    keep("rgb.bmp", colour)
    keep("rgb.tiff", colour, compression="tiff_lzw")
    keep("cmyk.tiff", colour.convert("CMYK"))
    keep("animated.gif", colour.quantize(20), save_all=True, append_images=[noise("second", 13, 9).quantize(20)])
    keep("lossless.webp", colour, lossless=True)
    picture = smooth("picture", 40, 24)
    for quality, file in ((95, "rgb.jpg"), (75, "small.jpg")):
        keep(file, picture, quality=quality)
    keep("grey.jpg", picture.convert("L"), quality=90)
    keep("progressive.jpg", picture, quality=90, progressive=True)
    keep("cmyk.jpg", picture.convert("CMYK"), quality=95)
    # 16 bits: of colour, Pillow keeps the high byte; grey above 255 is white.
    deep = hashed_bytes("deep", 13 * 9 * 2).view(np.uint16).reshape(9, 13)
    Image.fromarray(deep).save(folder / "grey16.png")
    keep("grey16.png")
    write_rgb16(folder / "rgb16.png", hashed_bytes("deep rgb", 13 * 9 * 6).reshape(9, 13, 6))
    keep("rgb16.png")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = f"exif{orientation}.png"
        colour.save(folder / file, exif=exif)
        expected[file] = np.asarray(ImageOps.exif_transpose(Image.open(folder / file)).convert("RGB"))
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.save(folder / "exif6.jpg", exif=exif, quality=95)
    expected["exif6.jpg"] = np.asarray(ImageOps.exif_transpose(Image.open(folder / "exif6.jpg")))
    save_file({key: np.ascontiguousarray(value) for key, value in expected.items()}, HERE / "decode.safetensors")


def write_rgb16(path, data):
    """A 16-bit RGB PNG, which Pillow reads but does not write."""
    import struct
    import zlib

    height, width, _ = data.shape
    rows = b"".join(b"\0" + row.tobytes() for row in data)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def transforms():
    """Configuration files as they are on disk, with the tensor each library makes of an image."""
    cases, out = {}, {}
    sizes = [(61, 47), (40, 90)]

    def timm_case(name, **cfg):
        cases[name] = {"config.json": {"architecture": "vit_custom", "pretrained_cfg": cfg}}
        transform = create_transform(
            input_size=tuple(cfg["input_size"]), is_training=False, interpolation=cfg.get("interpolation", "bicubic"),
            mean=cfg.get("mean", (0.485, 0.456, 0.406)), std=cfg.get("std", (0.229, 0.224, 0.225)),
            crop_pct=cfg.get("crop_pct", 0.875), crop_mode=cfg.get("crop_mode", "center"),
        )
        for w, h in sizes:
            out[f"{name} {w}x{h}"] = transform(noise(f"transform {w}x{h}", w, h)).numpy()

    timm_case("timm_center", input_size=[3, 32, 32], crop_pct=0.9, mean=[0.5] * 3, std=[0.5] * 3)
    timm_case("timm_default", input_size=[3, 33, 33], interpolation="bilinear")
    timm_case("timm_rectangle", input_size=[3, 32, 20], crop_pct=0.8)
    timm_case("timm_squash", input_size=[3, 30, 26], crop_pct=0.95, crop_mode="squash")
    timm_case("timm_border", input_size=[3, 32, 32], crop_pct=1.0, crop_mode="border", mean=[0.48145466, 0.4578275, 0.40821073])

    def hf_case(name, cls, **options):
        processor = cls(**options)
        cases[name] = {"preprocessor_config.json": processor.to_dict()}
        for w, h in sizes:
            values = processor(noise(f"transform {w}x{h}", w, h), return_tensors="np")["pixel_values"][0]
            out[f"{name} {w}x{h}"] = np.ascontiguousarray(values.astype(np.float32))

    vit, deit, bit = transformers.ViTImageProcessor, transformers.DeiTImageProcessor, transformers.BitImageProcessor
    hf_case("hf_vit", vit, size={"height": 24, "width": 36}, image_mean=[0.5, 0.4, 0.3], image_std=[0.2, 0.3, 0.25])
    hf_case("hf_vit_no_normalize", vit, size={"height": 20, "width": 20}, do_normalize=False, resample=1)
    hf_case("hf_vit_no_rescale", vit, size={"height": 20, "width": 20}, do_rescale=False, image_mean=[100, 110, 120], image_std=[50, 60, 70])
    hf_case("hf_deit", deit, size={"height": 37, "width": 37}, crop_size={"height": 26, "width": 26})
    hf_case("hf_deit_pads", deit, size={"height": 20, "width": 20}, crop_size={"height": 27, "width": 24})
    hf_case("hf_bit", bit, size={"shortest_edge": 35}, crop_size={"height": 24, "width": 24})
    for key in out:
        assert np.isfinite(out[key]).all()
    save_file({key: np.ascontiguousarray(value) for key, value in out.items()}, HERE / "transforms.safetensors")
    (HERE / "transforms.json").write_text(json.dumps(cases, indent=1, default=lambda value: getattr(value, "value", str(value))))


def write():
    resize_vectors()
    decode_files()
    transforms()
