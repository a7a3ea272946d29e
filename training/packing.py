"""`train.py pack`: an image folder into packs under a size, the test images always without loss."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

import folders
import packs
from fault import Fault

MB = 1_000_000
# Encoding effort of WebP, 0 to 6; 5 is a third faster than 6 at one per cent more bytes.
METHOD = 5


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio over all samples of two uint8 arrays, in dB."""
    error = np.mean([np.mean(np.square(x.astype(np.int16) - y, dtype=np.float32)) for x, y in zip(a, b)])
    return 10 * math.log10(255**2 / error) if error else math.inf


def best_quality(pixels: np.ndarray, room: int, workers: int) -> int:
    """The highest WebP quality at which the images fit into `room` bytes, judged by a sample of them."""
    sample = pixels[:: max(1, len(pixels) // 2048)]
    share = room / len(pixels) * len(sample)
    low, high = 0, 100
    while low < high:
        middle = (low + high + 1) // 2
        if sum(map(len, packs.to_mosaics(sample, middle, METHOD, workers))) <= share:
            low = middle
        else:
            high = middle - 1
    return low


def coded_train(files: list[bytes], size: int, room: int, workers: int) -> tuple[str, list[tuple[str, bytes]], str]:
    """Blobs of the training images: their own bytes where those fit into `room`, else mosaics at the best quality that does."""
    exact = packs.as_files("train", files)
    if sum(len(blob) for _, blob in exact) <= room:
        return "files", exact, "the files' own bytes"
    if packs.MOSAIC_SIDE % size or size % 16:
        raise Fault(f"{size} px images do not tile a mosaic: raise --max-mb or --parts, or take --size 32 or 64")
    pixels = packs.decoded(files, size)
    for quality in range(best_quality(pixels, room, workers), -1, -1):
        pictures = packs.to_mosaics(pixels, quality, METHOD, workers)
        if sum(map(len, pictures)) + 4 * len(pictures) <= room:
            loss = psnr(pixels, packs.from_mosaics(pictures, len(pixels), size, workers))
            length = np.array([len(picture) for picture in pictures], "<u4").tobytes()
            blobs = [("train.length", length), ("train.bytes", b"".join(pictures))]
            return "mosaic", blobs, f"WebP quality {quality}, PSNR {loss:.2f} dB"
    raise Fault(f"the training images do not fit into {room / MB:.1f} MB even at WebP quality 0: raise --max-mb or --parts")


def pack(
    root: Path, out: Path, size: int | None, parts: int, max_mb: float, held_out: str | None, seed: int, workers: int
) -> None:
    """Writes `out`, or for several parts `out` with -1, -2 … before its suffix, each a fair share of every class."""
    begun = time.monotonic()
    folder = folders.read(root, held_out)
    name = folder.held_out
    if size is None:
        with Image.open(folder.splits["train"][0][0]) as image:
            size = min(image.size)
    out.parent.mkdir(parents=True, exist_ok=True)
    shares = {}
    for split, files in folder.splits.items():
        # A stable sort by class after the shuffle, then every parts-th: each part has its share of every class.
        order = np.random.default_rng(seed).permutation(len(files))
        by_class = order[np.argsort([files[i][1] for i in order], kind="stable")]
        shares[split] = [np.random.default_rng(seed + 1).permutation(by_class[part::parts]) for part in range(parts)]
    for part in range(parts):
        encoded = {}
        with ThreadPoolExecutor(workers) as pool:
            for split, files in folder.splits.items():
                encoded[split] = list(pool.map(lambda i: packs.stored(files[i][0], size), shares[split][part]))
        blobs = [
            (f"{split}.label", np.array([files[i][1] for i in shares[split][part]], "<u2").tobytes())
            for split, files in folder.splits.items()
        ]
        measured = packs.as_files(name, encoded[name])
        room = int(max_mb * MB) - sum(len(blob) for _, blob in blobs + measured) - 65_536
        if room <= 0:
            raise Fault(f"the images of `{name}` alone need more than {max_mb} MB: raise --max-mb or --parts")
        coding, train, how = coded_train(encoded["train"], size, room, workers)
        header = {
            "name": root.resolve().name,
            "image_size": size,
            "classes": folder.classes,
            "labels": folder.labels,
            "held_out": name,
            "part": part + 1,
            "parts": parts,
            "splits": {
                "train": {"count": len(encoded["train"]), "coding": coding, "how": how},
                name: {"count": len(encoded[name]), "coding": "files", "how": "the files' own bytes"},
            },
        }
        path = out if parts == 1 else out.with_name(f"{out.stem}-{part + 1}{out.suffix}")
        bytes_written = packs.write(path, header, blobs + measured + train)
        print(
            f"{path}: {bytes_written / MB:.2f} MB, {len(folder.classes)} classes of {size} px; train {len(encoded['train'])} "
            f"({how}), {name} {len(encoded[name])} (the files' own bytes), {time.monotonic() - begun:.0f} s",
            flush=True,
        )
