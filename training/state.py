"""What outlives a process: one checkpoint per phase, the time spent so far, the recipe they belong to."""

import hashlib
import json
import os
from pathlib import Path

import torch

import clock
from fault import Fault
from presets import STUDENT_ONLY

# Arguments that change where a run happens and what it prints, not what it computes.
FREE = {
    "command", "run", "packs", "state", "out", "device", "compile", "workers", "eval_every", "save_every", "stop_after_minutes",
}


def sources_sha256() -> str:
    """One digest of this folder's Python sources, in order of their names."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


SOURCES = sources_sha256()


def recipe(args) -> dict:
    """The arguments that decide the weights."""
    return {name: value for name, value in sorted(vars(args).items()) if name not in FREE}


def recipe_sha256(arguments: dict) -> str:
    return hashlib.sha256((SOURCES + json.dumps(arguments, sort_keys=True)).encode()).hexdigest()


def replace(path: Path, write) -> None:
    """`write(temporary path)`, flushed to the disk, then renamed: a kill leaves the old file or the new one."""
    partial = path.with_name(path.name + ".partial")
    write(partial)
    with open(partial, "rb+") as file:
        os.fsync(file.fileno())
    partial.replace(path)


class State:
    """A folder with `teacher.pt` and `student.pt`."""

    def __init__(self, folder: Path):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.phases = {name: self.load(name) for name in ("teacher", "student")}
        self.spent = max([phase["elapsed"] for phase in self.phases.values() if phase], default=0.0)

    def load(self, name: str) -> dict | None:
        path = self.folder / f"{name}.pt"
        if not path.is_file():
            return None
        try:
            return torch.load(path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise Fault(f"{path}: not a checkpoint of this program ({str(error).splitlines()[0][:120]})") from None

    def save(self, name: str, phase: dict) -> None:
        self.phases[name] = phase
        replace(self.folder / f"{name}.pt", lambda path: torch.save(phase, path))

    def elapsed(self) -> float:
        """Seconds of all calls of this run together, as far as they were saved, and of this process."""
        return self.spent + clock.running()

    def check(self, arguments: dict, about: dict) -> None:
        """A run goes on only with the recipe and the data it began with."""
        for name, phase in self.phases.items():
            if phase is None:
                continue
            for option, value in arguments.items():
                before = phase["recipe"].get(option)
                if before != value and not (name == "teacher" and option in STUDENT_ONLY):
                    given = f"--{option.replace('_', '-')} {before}, not {value}"
                    raise Fault(f"{self.folder / name}.pt was made with {given}: give that, or another --state")
            if phase["about"]["sha256"] != about["sha256"]:
                raise Fault(f"{self.folder / name}.pt was made with other packs: give those, or another --state")


def rng(device: torch.device) -> dict:
    """States of the random generators."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return states


def restore_rng(states: dict, device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda" and "cuda" in states:
        torch.cuda.set_rng_state(states["cuda"], device)
