"""Image folders: which file belongs to which class, in the two layouts that public sets come in.

`train/CLASS/**/*.png` with `test/` or `val/` beside it (torchvision's ImageFolder), and Tiny ImageNet's own
(`train/WNID/images/`, `val/images/` with `val/val_annotations.txt`, `wnids.txt`, `words.txt`).
"""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from fault import Fault

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp"}


@dataclass
class Folder:
    """Files of a data set: `splits[name]` is a list of (path, class index)."""

    classes: list[str]
    labels: list[str]
    held_out: str
    splits: dict[str, list[tuple[Path, int]]]


def read(root: Path, held_out: str | None = None) -> Folder:
    """Lists a folder. `held_out` names the split to measure on; by default `test`, or `val` where there is no `test`."""
    if not (root / "train").is_dir():
        raise Fault(f"{root}: no folder `train` in it")
    classes = sorted(entry.name for entry in (root / "train").iterdir() if entry.is_dir())
    if len(classes) < 2:
        raise Fault(f"{root / 'train'}: {len(classes)} class folders, at least two are needed")
    annotations = root / "val" / "val_annotations.txt"
    if held_out is None:
        held_out = "val" if annotations.is_file() or not (root / "test").is_dir() else "test"
    if not (root / held_out).is_dir():
        raise Fault(f"{root}: no folder `{held_out}` in it to measure on")
    index = {name: i for i, name in enumerate(classes)}
    if held_out == "val" and annotations.is_file():
        measured = annotated(annotations, index)
    else:
        unknown = sorted(entry.name for entry in (root / held_out).iterdir() if entry.is_dir() and entry.name not in index)
        if unknown:
            raise Fault(f"{root / held_out}: class `{unknown[0]}` is not in `train`")
        measured = by_class(root / held_out, index)
    splits = {"train": by_class(root / "train", index), held_out: measured}
    for name, files in splits.items():
        if not files:
            raise Fault(f"{root / name}: no images in it")
    return Folder(classes, labels(root / "words.txt", classes), held_out, splits)


def by_class(folder: Path, index: dict[str, int]) -> list[tuple[Path, int]]:
    """`folder/CLASS/**/IMAGE`, ordered by class and path."""
    return [
        (path, i)
        for name, i in index.items()
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def annotated(annotations: Path, index: dict[str, int]) -> list[tuple[Path, int]]:
    """Tiny ImageNet's validation split: a line `file, WNID, box` for each of `images/`."""
    files = []
    for number, line in enumerate(annotations.read_text().splitlines(), 1):
        fields = line.split("\t")
        if len(fields) < 2 or fields[1] not in index:
            raise Fault(f"{annotations}:{number}: no known class in `{line[:60]}`")
        files.append((annotations.parent / "images" / fields[0], index[fields[1]]))
    return files


def labels(words: Path, classes: list[str]) -> list[str]:
    """Names for people: the first two WordNet lemmas where `words.txt` has them (all where two would be ambiguous)."""
    if not words.is_file():
        return classes
    lemmas = dict(line.split("\t", 1) for line in words.read_text().splitlines() if "\t" in line)
    full = [lemmas.get(name, name).strip() for name in classes]
    short = [", ".join(text.split(", ")[:2]) for text in full]
    seen = Counter(short)
    return [text if seen[text] == 1 else whole for text, whole in zip(short, full)]
