"""Puts known faults back into a copy of the Rust source, one at a time, and counts the models until each is found.

    faults.py [--only NAME,…] [--target DIR] [--seed S]

A fault counts as found if a model within the given number fails. Exits with 1 if one is not found, or its text is gone.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent


@dataclass
class Fault:
    """One text of a file put in place of another, and within how many models of which library that must be found."""

    name: str
    file: str
    old: str
    new: str
    library: str
    within: int


FAULTS = [
    Fault("the gate of GluMlp is taken for its first half", "src/checkpoint/timm/recipe.rs", '== Some("GluMlp")', '== Some("-")', "timm-class", 300),
    Fault("init_values 0 makes no layer scale of a parallel block", "src/model/constructor.rs", "Block::ParallelScaling => self.init_values.is_some(),", "Block::ParallelScaling => false,", "timm-class", 600),
    Fault("fc_norm does not follow global_pool", "src/model/constructor.rs", "self.fc_norm.unwrap_or(averaged)", "self.fc_norm.unwrap_or(false)", "timm-arch", 100),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), help="names, or parts of them")
    parser.add_argument("--target", type=Path, default=Path(tempfile.gettempdir()) / "faults-target", help="CARGO_TARGET_DIR")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chosen = [fault for fault in FAULTS if not arguments.only or any(part in fault.name for part in arguments.only)]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder) / "copy")
        for fault in chosen:
            found, text = judged(fault, copy, arguments)
            missed += not found
            print(f"{'found ' if found else 'MISSED'} {fault.name}: {text}", flush=True)
    print(f"{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


def copied(to: Path) -> Path:
    """A copy of the working tree: what git tracks or would."""
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file():
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def judged(fault: Fault, copy: Path, arguments) -> tuple[bool, str]:
    """Whether the fault was found, and after how many models, or why not. The copy is as before afterwards."""
    path = copy / fault.file
    before = path.read_text()
    if before.count(fault.old) != 1:
        return False, f"its text is {before.count(fault.old)} times in {fault.file}"
    path.write_text(before.replace(fault.old, fault.new))
    try:
        built = subprocess.run(["cargo", "build", "--release", "--quiet"], cwd=copy, env={**os.environ, "CARGO_TARGET_DIR": str(arguments.target)}, capture_output=True, text=True)
        if built.returncode:
            return False, f"it does not compile: {built.stderr[-300:]}"
        return searched(fault, arguments)
    finally:
        path.write_text(before)


def searched(fault: Fault, arguments) -> tuple[bool, str]:
    """Draws models until one fails."""
    binary = arguments.target / "release" / "vit-gpu"
    command = [sys.executable, str(HERE / "run.py"), "--binary", str(binary), "--libraries", fault.library]
    command += ["--models", str(fault.within), "--seed", str(arguments.seed), "--until-failure"]
    done = subprocess.run(command, capture_output=True, text=True)
    after = re.search(r"found after (\d+) models", done.stdout)
    if not after:
        return False, f"not within {fault.within} models of {fault.library}" if done.returncode == 0 else done.stderr[-300:]
    return True, f"after {after[1]} of {fault.within} models of {fault.library}"


if __name__ == "__main__":
    sys.exit(main())
