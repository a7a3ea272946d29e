"""The examples of docs/python.md run, and print what the page says."""

import contextlib
import io
import re
import shutil

import pytest
from conftest import CAT, ROOT, SHAPES
from PIL import Image

PAGE = ROOT / "docs" / "python.md"
NUMBER = re.compile(r"\d+\.\d+")


def same(printed, expected):
    """Whether both texts are the same, but for what another processor's instructions may change in the last digits."""
    numbers, wanted = ([float(number) for number in NUMBER.findall(text)] for text in (printed, expected))
    return NUMBER.sub("#", printed) == NUMBER.sub("#", expected) and numbers == pytest.approx(wanted, abs=1e-5)


def blocks():
    """Each block with the text block after it, if there is one."""
    found = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    for i, (kind, text) in enumerate(found):
        after = found[i + 1] if i + 1 < len(found) else ("", "")
        yield kind, text, after[1] if after[0] == "text" else None


def test_examples_print_what_the_page_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAT, "cat.png")
    shutil.copytree(ROOT / "assets" / "vit-nano-cifar10", "path/to/model")
    shutil.copytree(SHAPES, "path/to/clip")
    shutil.copy(SHAPES / "drawing.png", "drawing.png")
    (tmp_path / "photos").mkdir()
    shutil.copy(CAT, "photos/a.png")
    Image.open(CAT).save("photos/b.jpg", quality=95)
    names, count = {}, 0
    for kind, text, expected in blocks():
        if kind != "python":
            continue
        count += 1
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(text, str(PAGE), "exec"), names)
        if expected is not None:
            assert same(printed.getvalue(), expected), f"{text}{printed.getvalue()}"
    assert count >= 6


def test_the_commands_are_those_that_are_checked():
    script = (ROOT / "scripts" / "check-wheel").read_text()
    kinds = set()
    for kind, text, _ in blocks():
        kinds.add(kind)
        if kind == "sh":
            for line in text.splitlines():
                assert line in script, f"scripts/check-wheel does not run: {line}"
    assert kinds == {"python", "sh", "text"}
