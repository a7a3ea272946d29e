"""The type stubs say what the package does."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import CAT, SHAPES

import vit_gpu

TYPED = Path(__file__).with_name("typed.py")
WRONG = """
import vit_gpu
classify = vit_gpu.Classifier(precision="f8")
classify(3)
number: int = classify("cat.png")
"""


def check(file, tmp_path):
    mypy = ["-m", "mypy", "--strict", "--follow-imports=silent", "--cache-dir", str(tmp_path / "cache"), str(file)]
    done = subprocess.run([sys.executable, *mypy], capture_output=True, text=True, cwd=tmp_path)
    return done.stdout + done.stderr


def test_what_is_right_is_accepted(tmp_path):
    pytest.importorskip("mypy")
    assert "Success" in check(TYPED, tmp_path)


def test_what_is_wrong_is_refused(tmp_path):
    pytest.importorskip("mypy")
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    said = check(file, tmp_path)
    assert all(f"wrong.py:{line}: error" in said for line in (3, 4, 5)), said


def test_it_runs():
    subprocess.run([sys.executable, TYPED, CAT, SHAPES], check=True)


def test_the_stubs_name_everything():
    stubs = Path(vit_gpu.__file__).with_name("__init__.pyi").read_text()
    assert Path(vit_gpu.__file__).with_name("py.typed").exists()
    for name in vit_gpu.__all__:
        assert name in stubs
    for kind in (vit_gpu.Classifier, vit_gpu.Embedder, vit_gpu.ZeroShot):
        assert inspect.signature(kind).parameters["device"].default == "auto"
        for name, member in vars(kind).items():
            if not name.startswith("_"):
                assert f"def {name}(" in stubs and member.__doc__
