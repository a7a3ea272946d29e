"""Writes the committed pack: one zip per library with models, inputs and the library's outputs.

    pack.py --out tests/goldens/drawn --per-library N [--libraries a,b] [--binary PATH]

Draws deterministically, and picks so that every option and every value occurs. With `--binary`, what vit-gpu refuses by
design is marked by `NNN/refused.txt`, and a model that it gets wrong stops the writing; without it, whatever a library's
`refusable` names is marked. The same draws give the same bytes.
"""

import argparse
import json
import random
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from safetensors.numpy import save_file

from compare import contiguous, judge
from libraries import MODULES, Invalid, load
from options import Options, pairs

CANDIDATES = 60
# A library with more values than this many times the wanted number of models is not covered entirely.
MOST = 5
DATE = (1980, 1, 1, 0, 0, 0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-library", type=int, default=50, help="at least so many models; more where values are left")
    parser.add_argument("--libraries", type=lambda text: text.split(","), default=list(MODULES))
    parser.add_argument("--binary", type=lambda path: Path(path).resolve())
    parser.add_argument("--skip-wrong", action="store_true", help="leave out what vit-gpu gets wrong, and say so")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = Options()
    for name in arguments.libraries:
        count = pack(load(name), arguments, table)
        size = (arguments.out / f"{name}.zip").stat().st_size
        print(f"{name}: {count} models, {size / 1e6:.2f} MB", flush=True)
    (arguments.out / "options.md").write_text(f"# Options and values in the pack\n\n{table.table()}")
    return 0


def pack(library, arguments, table: Options) -> int:
    """Writes one library's zip; returns how many models are in it."""
    chosen = Picker(library, arguments.per_library)
    packed = 0
    with zipfile.ZipFile(arguments.out / f"{library.NAME}.zip", "w") as archive:
        while (options := chosen.next(packed)) is not None:
            with tempfile.TemporaryDirectory() as folder:
                try:
                    files = files_of(library, options, Path(folder), arguments)
                except Invalid:
                    continue
            chosen.take(options)
            table.record(library.NAME, library.DEFAULTS, options)
            for name, content in sorted(files.items()):
                add(archive, f"{packed:03}/{name}", content)
            packed += 1
    left = chosen.missing()
    if left:
        print(f"{library.NAME}: no valid model has {', '.join(f'{name}={value}' for name, value in left[:20])}")
    return packed


class Picker:
    """Picks, of many drawn candidates, the one whose options and values are the rarest among those taken."""

    def __init__(self, library, wanted: int):
        rng = random.Random(f"pack {library.NAME}")
        self.candidates = [library.draw(rng) for _ in range(CANDIDATES * wanted)]
        self.free = getattr(library, "FREE", set())
        self.pairs = [self.pairs_of(library, options) for options in self.candidates]
        self.values = {pair for each in self.pairs for pair in each}
        self.wanted, self.library, self.taken = wanted, library, Counter()
        self.left = list(range(len(self.candidates)))

    def pairs_of(self, library, options: dict) -> list:
        """The values to cover: not those of options that a library calls free."""
        return [pair for pair in pairs(library.DEFAULTS, options) if pair[0] not in self.free]

    def next(self, packed: int) -> dict | None:
        """The next candidate to try; none when there are enough and nothing new is to be seen."""
        if not self.left or packed >= MOST * self.wanted:
            return None
        best = max(self.left, key=lambda i: (self.score(i), -i))
        if packed >= self.wanted and not any(self.taken[pair] == 0 for pair in self.pairs[best]):
            return None
        self.left.remove(best)
        return self.candidates[best]

    def score(self, i: int) -> float:
        """New values count most; a model with few other options shows a fault in them more plainly."""
        new = sum(self.taken[pair] == 0 for pair in self.pairs[i])
        return new + sum(0.01 / (1 + self.taken[pair]) for pair in self.pairs[i])

    def take(self, options: dict) -> None:
        self.taken.update(self.pairs_of(self.library, options))

    def missing(self) -> list:
        return sorted(pair for pair in self.values if self.taken[pair] == 0)


def files_of(library, options: dict, folder: Path, arguments) -> dict[str, bytes]:
    """The files of one model in the pack."""
    case = library.make(options, folder)
    reason = library.refusable(options)
    if arguments.binary:
        verdict = judge(arguments.binary, folder, case, reason)
        if verdict.failed:
            text = f"{library.NAME} {verdict.kind}: {verdict.text}\n  {json.dumps(options)}"
            if not arguments.skip_wrong:
                raise SystemExit(text)
            print(text)
            raise Invalid("vit-gpu gets it wrong")
        reason = reason if verdict.kind == "refused" else None
    save_file(contiguous({**case.inputs, **case.expected}), folder / "both.safetensors")
    files = {path.relative_to(folder / "model").as_posix(): path.read_bytes() for path in (folder / "model").rglob("*") if path.is_file()}
    files["expected.safetensors"] = (folder / "both.safetensors").read_bytes()
    files["options.json"] = json.dumps({"options": options, "args": case.extra_args}, indent=1).encode() + b"\n"
    return files | ({"refused.txt": reason.encode() + b"\n"} if reason else {})


def add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    """One file, without anything of the machine or the hour in it."""
    info = zipfile.ZipInfo(name, DATE)
    info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_DEFLATED, 0o644 << 16, 3
    archive.writestr(info, content, compresslevel=9)


if __name__ == "__main__":
    sys.exit(main())
