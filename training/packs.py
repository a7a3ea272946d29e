"""Packs: a data set in one file (or a few), small enough to carry to a machine that has no data.

A pack is `VITPACK1`, the sha256 of all that follows, the header's length (u32) and the header (JSON), then the blobs in the
order in which the header lists them, with their lengths. Integers are little-endian.

Each split is stored in one of two ways:

- `files`: the images' own bytes, so that nothing is lost. JPEGs of one encoder begin alike (quantisation and Huffman tables,
  600 of CIFAR-10's 920 bytes a file), so each distinct beginning is stored once. Blobs: `prefixes` (each after its u32
  length), `prefix` (u32, N), `length` (u32, N), `bytes`.
- `mosaic`: tiles of many images in large lossy WebP pictures, which spares a header per image. Blobs: `length` (u32, pictures),
  `bytes`.

and has a blob `label` (u16, N) either way.
"""

import hashlib
import io
import json
import struct
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from fault import Fault

MAGIC = b"VITPACK1"
# A mosaic's side in pixels. WebP predicts from neighbouring blocks, so tiles are multiples of its 16-pixel macroblock.
MOSAIC_SIDE = 1024


def write(path: Path, header: dict, blobs: list[tuple[str, bytes]]) -> int:
    """Writes a pack, by way of a temporary file; returns its size in bytes."""
    header = dict(header, blobs=[[name, len(blob)] for name, blob in blobs])
    text = json.dumps(header).encode()
    rest = b"".join([struct.pack("<I", len(text)), text, *(blob for _, blob in blobs)])
    partial = path.with_suffix(".partial")
    partial.write_bytes(MAGIC + hashlib.sha256(rest).digest() + rest)
    partial.replace(path)
    return len(MAGIC) + 32 + len(rest)


def read(path: Path) -> tuple[dict, dict[str, bytes]]:
    """A pack's header and blobs, checked against its sha256."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Fault(f"{path}: {error.strerror}") from None
    if data[:8] != MAGIC:
        raise Fault(f"{path}: not a pack (make one with `train.py pack`)")
    if hashlib.sha256(memoryview(data)[40:]).digest() != data[8:40]:
        raise Fault(f"{path}: truncated or damaged, its sha256 differs")
    (size,) = struct.unpack_from("<I", data, 40)
    header = json.loads(data[44 : 44 + size])
    header["sha256"] = data[8:40].hex()
    blobs, at = {}, 44 + size
    for name, length in header["blobs"]:
        blobs[name] = data[at : at + length]
        at += length
    return header, blobs


def fitted(image: Image.Image, size: int) -> Image.Image:
    """RGB, `size` x `size`: the shorter side resized (bicubic), the centre kept, as at inference with `crop_pct` 1."""
    image = image.convert("RGB")
    if image.size != (size, size):
        scale = size / min(image.size)
        width, height = (max(size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - size) // 2, (height - size) // 2
        image = image.crop((left, top, left + size, top + size))
    return image


def stored(path: Path, size: int) -> bytes:
    """A file's own bytes where it has the pack's size already, else the fitted image without loss."""
    try:
        data = path.read_bytes()
        with Image.open(io.BytesIO(data)) as image:
            if image.size == (size, size):
                image.load()
                return data
            out = io.BytesIO()
            fitted(image, size).save(out, "WEBP", lossless=True)
            return out.getvalue()
    except (OSError, ValueError, SyntaxError) as error:
        raise Fault(f"{path}: not a readable image ({error})") from None


def jpeg_prefix(data: bytes) -> int:
    """Bytes of a JPEG before its entropy-coded data: all markers up to and with SOS (ITU-T T.81, B.1). 0 for other formats."""
    if data[:2] != b"\xff\xd8":
        return 0
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if data[at + 1] == 0xDA:
            return at + 2 + length
        at += 2 + length
    return 0


def as_files(name: str, files: list[bytes]) -> list[tuple[str, bytes]]:
    """Blobs of a split stored as `files`."""
    prefixes: dict[bytes, int] = {}
    which, rest = [], []
    for data in files:
        cut = jpeg_prefix(data)
        which.append(prefixes.setdefault(data[:cut], len(prefixes)))
        rest.append(data[cut:])
    return [
        (f"{name}.prefixes", b"".join(struct.pack("<I", len(prefix)) + prefix for prefix in prefixes)),
        (f"{name}.prefix", np.array(which, "<u4").tobytes()),
        (f"{name}.length", np.array([len(data) for data in rest], "<u4").tobytes()),
        (f"{name}.bytes", b"".join(rest)),
    ]


def from_files(name: str, blobs: dict[str, bytes], size: int, workers: int) -> np.ndarray:
    """Pixels of a split stored as `files`: (N, size, size, 3) uint8."""
    prefixes, table, at = [], blobs[f"{name}.prefixes"], 0
    while at < len(table):
        (length,) = struct.unpack_from("<I", table, at)
        prefixes.append(table[at + 4 : at + 4 + length])
        at += 4 + length
    which = np.frombuffer(blobs[f"{name}.prefix"], "<u4")
    ends = np.cumsum(np.frombuffer(blobs[f"{name}.length"], "<u4").astype(np.int64))
    body = blobs[f"{name}.bytes"]
    files = [prefixes[kind] + body[end - length : end] for kind, end, length in zip(which, ends, np.diff(ends, prepend=0))]
    chunks = [files[first : first + 1000] for first in range(0, len(files), 1000)]
    # Small images cost Python more than decoding, which threads would do one at a time; forks need no imports of their own.
    forks = sys.platform == "linux" and len(chunks) > 1
    with ProcessPoolExecutor(workers, get_context("fork")) if forks else ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(pool.map(decoded, chunks, [size] * len(chunks))))


def decoded(files: list[bytes], size: int) -> np.ndarray:
    """(N, size, size, 3) uint8 of encoded images of that size."""
    pixels = np.empty((len(files), size, size, 3), np.uint8)
    for i, data in enumerate(files):
        pixels[i] = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    return pixels


def to_mosaics(pixels: np.ndarray, quality: int, method: int, workers: int) -> list[bytes]:
    """(N, S, S, 3) uint8 as WebP pictures of (1024 / S)² tiles, row by row; the last is filled up with grey."""
    size = pixels.shape[1]
    side = MOSAIC_SIDE // size

    def encode(first: int) -> bytes:
        tiles = np.full((side * side, size, size, 3), 128, np.uint8)
        part = pixels[first : first + side * side]
        tiles[: len(part)] = part
        picture = tiles.reshape(side, side, size, size, 3).swapaxes(1, 2).reshape(side * size, side * size, 3)
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "WEBP", quality=quality, method=method)
        return out.getvalue()

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(encode, range(0, len(pixels), side * side)))


def from_mosaics(pictures: list[bytes], count: int, size: int, workers: int) -> np.ndarray:
    """The inverse of `to_mosaics`, less what the coding lost: (N, S, S, 3) uint8."""
    side = MOSAIC_SIDE // size
    pixels = np.empty((len(pictures) * side * side, size, size, 3), np.uint8)

    def decode(i: int) -> None:
        picture = np.asarray(Image.open(io.BytesIO(pictures[i])).convert("RGB"))
        tiles = picture.reshape(side, size, side, size, 3).swapaxes(1, 2)
        pixels[i * side * side : (i + 1) * side * side] = tiles.reshape(side * side, size, size, 3)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(decode, range(len(pictures))))
    return pixels[:count]


def split(name: str, header: dict, blobs: dict[str, bytes], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N, S, S, 3) uint8 and labels (N,) int64 of a split."""
    labels = np.frombuffer(blobs[f"{name}.label"], "<u2").astype(np.int64)
    size = header["image_size"]
    if header["splits"][name]["coding"] == "files":
        return from_files(name, blobs, size, workers), labels
    ends = np.cumsum(np.frombuffer(blobs[f"{name}.length"], "<u4").astype(np.int64))
    body = blobs[f"{name}.bytes"]
    pictures = [body[end - length : end] for end, length in zip(ends, np.diff(ends, prepend=0))]
    return from_mosaics(pictures, len(labels), size, workers), labels
