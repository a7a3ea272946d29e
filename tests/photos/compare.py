"""Compares how vit-gpu reads image files with how Pillow reads them.

    python tests/photos/compare.py FOLDER [FOLDER…] --binary PATH [--jobs N] [--report FILE.json]

Every file in the folders is read by Pillow and passed through timm's evaluation transform, and is given to `vit-gpu preprocess`
with a configuration that asks for the same. This is done in three ways:

    turned   turned as EXIF says, resized and cropped as for ViT-B/16 (248, bicubic, 224)
    stored   the same, with the orientation ignored (`--no-exif`)
    whole    turned as EXIF says, at the picture's own size, so that every pixel is compared and none is resized

Differences are counted in levels, of which a byte has 256, and in pixels. A file passes if it differs by no more than is
allowed (0 levels, or 6 where decoders may round as they like), if neither program reads it, or if Pillow alone refuses it.
A picture of another size than Pillow's shows as a great difference. Files listed in the file given by `--known` pass with
whatever they do; each of its lines is the beginning of a file's SHA-256, a space, and the reason.

Needs timm, Pillow and safetensors. If pillow-heif is installed, it reads HEIC files for Pillow. The exit code is 1 if a file
fails.
"""

import argparse
import hashlib
import json
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import EpsImagePlugin, Image, ImageOps
from safetensors.numpy import load_file
from timm.data import create_transform

try:
    import pillow_heif

    pillow_heif.register_heif_opener()
except ImportError:
    pass

# Pillow would run Ghostscript, another program, on EPS files.
EpsImagePlugin.gs_binary = False

# From the best to the worst. A file's outcome is the worst of its ways'.
OUTCOMES = ["equal", "both refuse", "only ours reads", "close", "differs", "only Pillow reads", "crash"]
FAILING = OUTCOMES[4:]
# Formats whose decoders need not agree to the last bit.
LOSSY = {"JPEG", "MPO", "JPEG2000", "AVIF", "HEIF"}
LOSSY_ALLOWANCE = 6
# vit-gpu's exit code for an image that can't be read.
REFUSED = 1
# The longest side of an image that a configuration can ask for.
LONGEST_SIDE = 16384


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="folders of image files, searched recursively")
    parser.add_argument("--binary", type=Path, required=True, help="the program vit-gpu")
    parser.add_argument("--jobs", type=int, default=2, help="files that are compared at a time (default 2)")
    parser.add_argument("--report", type=Path, help="a JSON file to write, with everything about every file")
    parser.add_argument("--known", type=Path, help="a file of files that may fail: SHA-256 prefix, space, reason")
    parser.add_argument("--allow", type=float, help="levels by which a file may differ (default 0, or 6 for lossy formats)")
    parser.add_argument("--timeout", type=int, default=60, help="seconds that each program has for a file (default 60)")
    most = "most pixels of a picture to compare at its own size (default 25 million)"
    parser.add_argument("--whole-pixels", type=int, default=25_000_000, help=most)
    args = parser.parse_args()
    args.binary = args.binary.resolve()

    files = sorted({path for folder in args.folders for path in folder.rglob("*") if path.is_file()})
    known = read_known(args.known)
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(args.jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        one = partial(compare, args=args, scratch=Path(folder))
        results = []
        for result in pool.map(one, files):
            result["known"] = next((reason for prefix, reason in known.items() if result["sha256"].startswith(prefix)), None)
            results.append(result)
            if result["outcome"] != "equal":
                print(line(result), flush=True)

    print_summary(results)
    if args.report:
        args.report.write_text(json.dumps(results, indent=1))
    failed = [result for result in results if fails(result)]
    print(f"\n{len(results)} files, {len(failed)} failed, {sum(bool(result['known']) for result in results)} known.")
    return 1 if failed or not results else 0


def read_known(path: Path | None) -> dict[str, str]:
    """The reasons of a list of known failures, by the beginnings of SHA-256 sums."""
    lines = [line.strip() for line in path.read_text().splitlines()] if path else []
    pairs = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    return {prefix.lower(): reason for prefix, reason in pairs}


def fails(result: dict) -> bool:
    return result["outcome"] in FAILING and not result["known"]


# One file.


def compare(path: Path, args: argparse.Namespace, scratch: Path) -> dict:
    """What both programs make of a file, in all ways."""
    data = path.read_bytes()
    result = {"file": str(path), "sha256": hashlib.sha256(data).hexdigest()}
    turned, kind, lossy = read(path, True, args.timeout)
    stored, _, _ = read(path, False, args.timeout)
    result["format"] = kind or f"{path.suffix.lower() or 'no ending'} (a guess)"
    lossy = lossy or (kind == "WEBP" and b"VP8L" not in data[:4096])
    allowed = args.allow if args.allow is not None else LOSSY_ALLOWANCE if lossy else 0
    config = {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center"}
    ways = {"turned": way(path, turned, config, [], args, scratch), "stored": way(path, stored, config, ["--no-exif"], args, scratch)}
    if isinstance(turned, Image.Image) and ways["turned"]["outcome"] == "compared":
        width, height = turned.size
        if width * height <= args.whole_pixels and max(turned.size) <= LONGEST_SIDE:
            config = {"input_size": (3, height, width), "crop_pct": 1.0, "crop_mode": "squash"}
            ways["whole"] = way(path, turned, config, [], args, scratch)
    for one in ways.values():
        if one["outcome"] == "compared":
            one["outcome"] = "equal" if one["levels"] == 0 else "close" if one["levels"] <= allowed else "differs"
    return {**result, "ways": ways, "outcome": max((one["outcome"] for one in ways.values()), key=OUTCOMES.index)}


def read(path: Path, turn: bool, timeout: int) -> tuple[Image.Image | str, str | None, bool]:
    """What Pillow makes of a file, or its message; the format's name; and whether that is a lossy one."""
    kind, lossy = None, False
    signal.signal(signal.SIGALRM, interrupt)
    signal.alarm(timeout)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                kind, lossy = image.format, image.format in LOSSY or image.info.get("compression") == "jpeg"
                image = ImageOps.exif_transpose(image) if turn else image
                return image.convert("RGB"), kind, lossy
    # Pillow raises errors of many classes for damaged files.
    except Exception as error:
        return f"{type(error).__name__}: {error}".replace(str(path), "the file"), kind, lossy
    finally:
        signal.alarm(0)


def interrupt(*_):
    raise TimeoutError("Pillow took too long")


def way(path: Path, pillow: Image.Image | str, config: dict, options: list[str], args: argparse.Namespace, scratch: Path) -> dict:
    """Compares one way of reading a file."""
    common = {"interpolation": "bicubic", "mean": (0.5,) * 3, "std": (0.5,) * 3}
    expected = pillow
    if isinstance(pillow, Image.Image):
        try:
            expected = create_transform(**config, **common)(pillow).numpy()
        # A strip may be too long to resize, which is an error of torchvision or a lack of memory.
        except Exception as error:
            expected = f"{type(error).__name__}: {error}"
    text = expected if isinstance(expected, str) else "reads it"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        model, out = Path(folder) / "model", Path(folder) / "out.safetensors"
        model.mkdir()
        arguments = {"architecture": "vit_base_patch16_224", "num_classes": 10, "model_args": {"dynamic_img_size": True}}
        (model / "config.json").write_text(json.dumps({**arguments, "pretrained_cfg": {**config, **common}}))
        command = [args.binary, "preprocess", path, "-m", model, "-o", out, "-q", *options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=args.timeout)
        except subprocess.TimeoutExpired:
            return {"outcome": "crash", "ours": f"nothing after {args.timeout} s", "pillow": text}
        ours = load_file(out)["pixel_values"][0] if done.returncode == 0 else None
    said = " | ".join(done.stderr.splitlines()).replace(str(path), "the file")
    messages = {"ours": said, "pillow": text}
    if done.returncode not in (0, REFUSED) or (ours is None and not said.startswith("error: ")) or len(done.stderr.splitlines()) > 1:
        return {"outcome": "crash", **messages, "code": done.returncode}
    if isinstance(expected, str):
        return {"outcome": "both refuse" if ours is None else "only ours reads", **messages}
    if ours is None:
        return {"outcome": "only Pillow reads", **messages}
    return {"outcome": "compared", **difference(ours, expected)}


def difference(ours: np.ndarray, expected: np.ndarray) -> dict:
    """The greatest difference of two normalised images in levels, and the share of the pixels that differ."""
    if np.array_equal(ours, expected):
        return {"levels": 0.0, "share": 0.0, "mean": 0.0}
    apart = np.abs(ours - expected) * 127.5
    return {"levels": round(float(apart.max()), 3), "share": float((apart.max(axis=0) > 0).mean()), "mean": float(apart.mean())}


# What is printed.


def line(result: dict) -> str:
    """What there is to say about a file that is not equal."""
    texts = []
    for name, one in result["ways"].items():
        if "levels" in one:
            texts.append(f"{name}: {one['levels']:g} levels, {one['share']:.2%} of the pixels")
        elif one["outcome"] == result["outcome"] and not any("Pillow:" in text for text in texts):
            texts.append(f"{name}: Pillow: {one['pillow']}; ours: {one['ours'] or 'reads it'}")
    known = f" (known: {result['known']})" if result["known"] else ""
    return f"{result['outcome']}{known}: {result['file']} [{result['format']}] {'; '.join(texts)}"


def size(result: dict) -> float:
    """The greatest difference of a file in levels."""
    return max((one.get("levels", 0.0) for one in result["ways"].values()), default=0.0)


def print_summary(results: list[dict]) -> None:
    """Tables of outcomes by format, and the differences by size."""
    differences = [result for result in results if size(result) > 0]
    if differences:
        print("\nDifferences, the greatest first:")
    for result in sorted(differences, key=size, reverse=True):
        print(line(result))
    counts = Counter((result["format"], result["outcome"]) for result in results)
    formats = sorted({kind for kind, _ in counts}, key=lambda kind: ("guess" in kind, kind))
    width = max(map(len, formats), default=0)
    print("\n" + " " * width + "".join(f"{outcome:>19}" for outcome in OUTCOMES))
    for kind in [*formats, "all"]:
        row = [sum(n for (of, is_), n in counts.items() if kind in (of, "all") and is_ == outcome) for outcome in OUTCOMES]
        print(f"{kind:<{width}}" + "".join(f"{n or '·':>19}" for n in row))


if __name__ == "__main__":
    sys.exit(main())
