"""Draws models that nobody thought of, runs each with vit-gpu, and compares with the library it is from.

    run.py --binary PATH [--libraries a,b] [--minutes M | --models N] [--seed S] [--keep DIR] [--threads 1]

Prints each failure at once with the fewest options that show it. Exits with 1 if anything failed.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch

from libraries import MODULES, Invalid, load
from minimise import minimise, try_options
from options import Options, changed

INVALID_IN_A_ROW = 200
# Options whose values, and not only their names, tell one kind of failure from another.
NAMING = {"cls", "model", "architecture", "timm_model_name", "version"}


class Run:
    """One run over several libraries: what was counted, and the failures by their minimal options."""

    def __init__(self, arguments):
        self.arguments = arguments
        self.libraries = [load(name) for name in arguments.libraries]
        self.options = Options()
        self.compared = Counter()
        self.refused = {library.NAME: Counter() for library in self.libraries}
        self.invalid = {library.NAME: Counter() for library in self.libraries}
        self.failures = {}

    def go(self) -> None:
        """Takes the libraries in turn until the time or the number of models is used up."""
        randoms = {library.NAME: random.Random(f"{self.arguments.seed} {library.NAME}") for library in self.libraries}
        end = time.monotonic() + 60 * self.arguments.minutes if self.arguments.minutes else None
        done = 0
        while (end is None or time.monotonic() < end) and (end is not None or done < self.arguments.models):
            for library in self.libraries:
                self.one(library, randoms[library.NAME])
                if self.arguments.until_failure and self.failures:
                    print(f"found after {sum(self.compared.values())} models")
                    return
            done += 1

    def one(self, library, rng) -> None:
        """Draws one valid model of a library and judges it."""
        for _ in range(INVALID_IN_A_ROW):
            options = library.draw(rng)
            with tempfile.TemporaryDirectory() as folder:
                try:
                    verdict = try_options(library, options, self.arguments.binary, Path(folder), self.arguments.threads)
                except Invalid as reason:
                    self.invalid[library.NAME][str(reason)[:80]] += 1
                    continue
            self.compared[library.NAME] += 1
            self.options.record(library.NAME, library.DEFAULTS, options)
            if verdict.kind == "refused":
                self.refused[library.NAME][library.refusable(options)] += 1
            if verdict.failed:
                self.fail(library, options, verdict)
            return
        raise SystemExit(f"{library.NAME}: {INVALID_IN_A_ROW} invalid draws in a row: {self.invalid[library.NAME].most_common(3)}")

    def fail(self, library, options, verdict) -> None:
        """Minimises a failure, and reports it if its minimal options are new."""
        few = options if self.arguments.until_failure else minimise(library, options, verdict.kind, self.arguments.binary)
        left = changed(library.DEFAULTS, few)
        # Which model it is is a kind of its own; of other options the name will do.
        names = (f"{name}={left[name]}" if name in NAMING else name for name in left)
        key = (library.NAME, verdict.kind, tuple(sorted(names)))
        self.failures.setdefault(key, [0])[0] += 1
        if self.failures[key][0] > 1:
            return
        keep = Path(self.arguments.keep) / f"{library.NAME}-{len(self.failures):03}-{verdict.kind}" if self.arguments.keep else None
        text = verdict.text
        with tempfile.TemporaryDirectory() as folder:
            try:
                text = try_options(library, few, self.arguments.binary, Path(folder), self.arguments.threads).text
            except Invalid:
                pass
            if keep:
                shutil.rmtree(keep, ignore_errors=True)
                shutil.copytree(folder, keep)
                (keep / "options.json").write_text(json.dumps(few, indent=1) + "\n")
                (keep / "fault.txt").write_text(text + "\n")
        print(f"{library.NAME} {verdict.kind.upper()}: {text}")
        print(f"  minimal: {json.dumps(changed(library.DEFAULTS, few))}", flush=True)

    def report(self) -> None:
        """What was compared, refused, invalid and failed per library, and the table of options."""
        print(f"\n{self.options.table()}")
        for library in self.libraries:
            name = library.NAME
            failed = sum(count for (of, *_), (count,) in self.failures.items() if of == name)
            refused, invalid = sum(self.refused[name].values()), sum(self.invalid[name].values())
            print(f"{name}: {self.compared[name]} compared, {refused} refused by design, {failed} failed, {invalid} invalid draws")
            for reason, count in self.refused[name].most_common():
                print(f"  refused {count}: {reason}")
            for reason, count in self.invalid[name].most_common(self.arguments.reasons):
                print(f"  invalid {count}: {reason}")
        for (name, kind, options), (count,) in sorted(self.failures.items()):
            print(f"FAILED {name} {kind} × {count}: {', '.join(options) or 'defaults'}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", type=lambda path: Path(path).resolve(), required=True)
    parser.add_argument("--libraries", type=lambda text: text.split(","), default=list(MODULES), help=f"of {', '.join(MODULES)}")
    parser.add_argument("--minutes", type=float, help="run for so long")
    parser.add_argument("--models", type=int, default=50, help="models per library, where no time is given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", help="folder for failures")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--reasons", type=int, default=3, help="how many reasons for invalid draws to show per library")
    parser.add_argument("--until-failure", action="store_true", help="stop at the first failure and say after how many models")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.backends.mha.set_fastpath_enabled(False)
    run = Run(arguments)
    run.go()
    run.report()
    return 1 if run.failures else 0


if __name__ == "__main__":
    sys.exit(main())
