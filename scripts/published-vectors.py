#!/usr/bin/env python3
"""Compares vit-gpu with numbers that others publish for real checkpoints. Needs the network, Python 3 and nothing else.

    cargo build --release
    scripts/published-vectors.py [--cache DIR] [--hub https://huggingface.co] [--device cpu] [NAME ...]

The numbers are from transformers' tests (tests/models/*/test_modeling_*.py, on tests_samples/COCO/000000039769.png) and
Bumblebee's (test/bumblebee/vision/*_test.exs, on constant 0.5). NAME picks rows whose repository contains it.
"""

import argparse
import json
import struct
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

PICTURE = "https://raw.githubusercontent.com/huggingface/transformers/main/tests/fixtures/tests_samples/COCO/000000039769.png"
FILES = ["config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors", "model.safetensors.index.json"]

# repository, input (None: the picture; a side: constant 0.5), options, output, first index of each axis, values, tolerance
ROWS = [
    ("google/vit-base-patch16-224", None, [], "logits", (0, 0), [-0.2744, 0.8215, -0.0836], 1e-4),
    ("facebook/deit-base-distilled-patch16-224", None, [], "logits", (0, 0), [-1.0266, 0.1912, -1.2861], 1e-4),
    ("facebook/dinov2-base", None, [], "last_hidden_state", (0, 0, 0), [[-2.1747, -0.4729, 1.0936], [-3.2780, -0.8269, -0.9210], [-2.9129, 1.1284, -0.7306]], 1e-4),
    ("facebook/dinov2-with-registers-base", None, [], "last_hidden_state", (0, 0, 0), [[-0.4638, -1.4563, -0.0289], [-1.4736, -0.8866, 0.3005], [0.0720, -0.2406, -1.5943]], 1e-4),
    ("facebook/dino-vits8", None, ["--image-size", "480"], "last_hidden_state", (0, 0, 0), [[4.2325, 4.3882, -6.6678], [4.5372, 1.8933, -6.7355], [4.4454, 0.8514, -5.8747]], 1e-3),
    ("openai/clip-vit-base-patch32", None, ["--image-size", "180"], "last_hidden_state", (0, 0, 0), [[-0.1538, 0.0322, -0.3235], [0.2893, 0.1135, -0.5708], [0.0461, 0.1540, -0.6018]], 1e-4),
    ("hf-internal-testing/tiny-random-ViTForImageClassification", 30, [], "logits", (0, 0), [-0.1596, 0.1818], 1e-4),
    ("hf-internal-testing/tiny-random-ViTModel", 30, [], "last_hidden_state", (0, 1, 1), [[-0.2075, 2.7865, 0.2361], [-0.3014, 2.5312, -0.6127], [-0.3460, 2.8741, 0.1988]], 1e-4),
    ("hf-internal-testing/tiny-random-ViTModel", 30, [], "pooled", (0, 1), [-0.0244, -0.0515, -0.1584], 1e-4),
    ("hf-internal-testing/tiny-random-DeiTForImageClassification", 30, [], "logits", (0, 0), [0.0481, 0.1008], 1e-4),
    ("hf-internal-testing/tiny-random-DeiTForImageClassificationWithTeacher", 30, [], "logits", (0, 0), [-0.0108, -0.0048], 1e-4),
    ("hf-internal-testing/tiny-random-Dinov2ForImageClassification", 30, [], "logits", (0, 0), [0.1091, 0.0126], 1e-4),
    ("hf-internal-testing/tiny-random-Dinov2Model", 30, [], "pooled", (0, 1), [-0.7099, -0.6118, 0.7679], 1e-4),
    ("bumblebee-testing/tiny-random-Dinov2Model-use_swiglu_ffn-True", 30, [], "pooled", (0, 1), [-0.5637, 0.7523, 1.0458], 1e-4),
]


def download(url: str, to: Path) -> bool:
    if to.exists():
        return True
    to.parent.mkdir(parents=True, exist_ok=True)
    part = to.with_suffix(to.suffix + ".part")
    try:
        with urllib.request.urlopen(url, timeout=60) as source, part.open("wb") as out:
            while chunk := source.read(1 << 20):
                out.write(chunk)
    except urllib.error.HTTPError as error:
        if error.code in (401, 403, 404):
            return False
        raise
    part.rename(to)
    return True


def read(path: Path) -> dict:
    """The f32 tensors of a .safetensors file: name to (shape, values)."""
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    out = {}
    for name, entry in json.loads(data[8 : 8 + length]).items():
        if name != "__metadata__":
            first, last = (8 + length + offset for offset in entry["data_offsets"])
            out[name] = entry["shape"], struct.unpack(f"<{(last - first) // 4}f", data[first:last])
    return out


def write(path: Path, name: str, shape: list, values: list) -> None:
    body = struct.pack(f"<{len(values)}f", *values)
    header = json.dumps({name: {"dtype": "F32", "shape": shape, "data_offsets": [0, len(body)]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + body)


def check(row, args) -> str:
    repository, side, options, output, first, wanted, tolerance = row
    folder = args.cache / repository.replace("/", "--")
    for file in FILES:
        download(f"{args.hub}/{repository}/resolve/main/{file}", folder / file)
    if not any((folder / file).exists() for file in FILES[3:]):
        return "skipped: the repository has no .safetensors file"
    pixels, result = args.cache / "pixels.safetensors", args.cache / "result.safetensors"
    if side is None:
        picture = args.cache / "000000039769.png"
        download(PICTURE, picture)
        subprocess.run([args.program, "preprocess", picture, "-m", folder, "-o", pixels, "-q", *options], check=True)
    else:
        write(pixels, "pixel_values", [1, 3, side, side], [0.5] * (3 * side * side))
    subprocess.run([args.program, "forward", "-i", pixels, "-o", result, "-m", folder, "-d", args.device, "-q", *options], check=True)
    shape, values = read(result)[output]
    rows = wanted if isinstance(wanted[0], list) else [wanted]
    worst = 0.0
    for i, row in enumerate(rows):
        start = first[-1] if len(shape) == 2 else (first[1] + i) * shape[2] + first[2]
        got = values[start : start + len(row)]
        worst = max(worst, *(abs(a - b) for a, b in zip(got, row, strict=True)))
    # The published digits are four.
    verdict = "ok" if worst <= tolerance + 5e-5 else "WRONG"
    return f"{verdict}: {output} off by {worst:.1e} ({tolerance:.0e} allowed)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--cache", type=Path, default=Path("target/published-vectors"))
    parser.add_argument("--hub", default="https://huggingface.co")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--program", default="target/release/vit-gpu")
    args = parser.parse_args()
    failed = 0
    for row in ROWS:
        if args.names and not any(name in row[0] for name in args.names):
            continue
        try:
            verdict = check(row, args)
        except (OSError, subprocess.CalledProcessError) as error:
            verdict = f"FAILED: {error}"
        failed += verdict.startswith(("WRONG", "FAILED"))
        print(f"{row[0]:72} {verdict}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
