"""Makes the options of a fault few: sets them back to default one after another while the fault remains."""

import tempfile
from pathlib import Path

from compare import Verdict, judge
from libraries import Invalid
from options import changed


def try_options(library, options: dict, binary: Path, folder: Path, threads: int = 1) -> Verdict:
    """Makes the model of these options in `folder` and judges it; raises `Invalid` where the library refuses them."""
    folder.mkdir(parents=True, exist_ok=True)
    case = library.make(options, folder)
    return judge(binary, folder, case, library.refusable(options), threads)


def minimise(library, options: dict, kind: str, binary: Path) -> dict:
    """The fewest options, going one by one, that show a fault of the same kind."""
    options, before = dict(options), None
    while options != before:
        before = dict(options)
        for name in sorted(changed(library.DEFAULTS, options)):
            fewer = {key: value for key, value in options.items() if key != name}
            if shows(library, fewer, kind, binary):
                options = fewer
    return options


def shows(library, options: dict, kind: str, binary: Path) -> bool:
    """Whether these options show a fault of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            return try_options(library, options, binary, Path(folder)).kind == kind
        except Invalid:
            return False
