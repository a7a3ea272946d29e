"""Runs vit-gpu on a saved model and compares what it writes with the library's own outputs."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from libraries import Case

ABSOLUTE, RELATIVE = 1e-4, 1e-4
LIMIT_S = 60


@dataclass
class Verdict:
    """`kind` is right, refused, or one of the faults: wrong, refused-unduly, crash."""

    kind: str
    text: str = ""

    @property
    def failed(self) -> bool:
        return self.kind not in ("right", "refused")


def judge(binary: Path, folder: Path, case: Case, reason: str | None, threads: int = 1) -> Verdict:
    """The verdict on `folder/model`. `reason` says why vit-gpu may refuse it; without one it must not."""
    write_inputs(folder, case)
    command = [str(binary), *arguments(case), "--threads", str(threads)]
    (folder / "out.safetensors").unlink(missing_ok=True)
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        return Verdict("crash", f"nothing after {LIMIT_S} s")
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    said = " | ".join(lines)[:400]
    if done.returncode == 0:
        return compare(folder / "out.safetensors", case.expected)
    if done.returncode != 2 or len(lines) != 1 or not lines[0].startswith("error:"):
        return Verdict("crash", f"exit code {done.returncode}, {len(lines)} lines: {said}")
    return Verdict("refused", said) if reason else Verdict("refused-unduly", said)


def arguments(case: Case) -> list[str]:
    """The command line, without the program."""
    files = ["-m", "model", "-d", "cpu", "-i", "input.safetensors", "-o", "out.safetensors"]
    return ["forward", *files, "--taps", "-q", *case.extra_args]


def write_inputs(folder: Path, case: Case) -> None:
    """What a kept failure needs beside the model: the command, the input and the expected outputs."""
    (folder / "cmd").write_text(" ".join(["vit-gpu", *arguments(case)]) + "\n")
    save_file(contiguous(case.inputs), folder / "input.safetensors")
    save_file(contiguous(case.expected), folder / "expected.safetensors")


def contiguous(tensors: dict) -> dict:
    """Copies that safetensors can write."""
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def compare(path: Path, expected: dict) -> Verdict:
    """Every expected output must be there, in its shape, without NaN, and near the reference."""
    if not path.exists():
        return Verdict("wrong", "no output was written")
    found, faults = load_file(path), []
    for name, reference in sorted(expected.items()):
        fault = difference(found.get(name), reference)
        if fault:
            faults.append(f"{name} {fault}")
    if "logits" in found and "logits" not in expected:
        faults.append("logits are given, and the library has none")
    return Verdict("wrong", "; ".join(faults)) if faults else Verdict("right")


def difference(value, reference) -> str | None:
    """What is wrong with one output, None if nothing is."""
    if value is None:
        return "is missing"
    if value.shape != reference.shape:
        return f"has shape {list(value.shape)}, not {list(reference.shape)}"
    value, reference = value.astype(np.float64), reference.astype(np.float64)
    if not np.isfinite(value).all():
        return "is not finite"
    off = np.abs(value - reference)
    # Written so that a NaN would fail too.
    if (off <= ABSOLUTE + RELATIVE * np.abs(reference)).all():
        return None
    return f"off by {off.max():.1e} (|ref| {np.abs(reference).max():.2g})"
