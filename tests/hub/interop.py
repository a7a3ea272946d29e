"""Compares the cache that vit-gpu writes with the one of Python's huggingface_hub 2.4.0, each against the server in this folder.

    pip install huggingface_hub==2.4.0
    python tests/hub/interop.py PATH/TO/vit-gpu

It checks that both write the same files, that each reads what the other wrote without downloading anything, that each is
content offline, and that both take the same locks. It prints a line for each check and fails at the first that does not hold.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import server

VERSION = "2.4.0"
ROOT = Path(__file__).parents[2]
REPO = "owner/nano"
FILES = ("config.json", "model.safetensors")


def environment(hub, cache, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HF_") and "proxy" not in name.lower()}
    return {**kept, "HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(cache), "HF_HUB_DISABLE_XET": "1", **more}


def python(hub, cache, code, **more):
    code = f"import huggingface_hub as h\nassert h.__version__ == '{VERSION}', h.__version__\n{code}"
    run = subprocess.run([sys.executable, "-c", code], env=environment(hub, cache, **more), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def ours(hub, cache, *args, **more):
    run = subprocess.run([program, *args], env=environment(hub, cache, **more), capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def tree(cache):
    """Every file and link, with what a link leads to or a file holds. Python's list of all files is its own addition."""
    found = {}
    for path in sorted(Path(cache).rglob("*")):
        name = str(path.relative_to(cache))
        if path.is_symlink():
            found[name] = "-> " + os.readlink(path)
        elif path.is_file() and "/trees/" not in name:
            found[name] = path.read_bytes()
    return found


def asked(hub):
    """The requests for the model since the last call; Python's library may also ask for news about itself."""
    requests, hub.requests[:] = list(hub.requests), []
    return [request for request in requests if REPO in request[1] or "/blob/" in request[1]]


def check(what, holds, *shown):
    print(("ok      " if holds else "FAILED  ") + what)
    if not holds:
        sys.exit("\n".join(str(each) for each in shown))


def download(revision=None):
    files = "\n".join(f"print(h.hf_hub_download('{REPO}', '{name}', revision={revision!r}))" for name in FILES)
    # What transformers asks for in vain is kept, too; vit-gpu keeps the same marks for the configurations that it knows.
    missing = "\n".join(
        f"try:\n    h.hf_hub_download('{REPO}', '{name}')\nexcept h.errors.EntryNotFoundError:\n    pass"
        for name in ("preprocessor_config.json", "processor_config.json", "open_clip_config.json", "adapter_config.json",
                     "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model", "vocab.json", "merges.txt")
    )
    return files, missing


def main(folder):
    for name in ("README.md", *FILES):
        target = folder / "models" / REPO / name
        target.parent.mkdir(parents=True, exist_ok=True)
        source = ROOT / "assets/vit-nano-cifar10" / name
        shutil.copy(source, target) if source.exists() else target.write_text("# A model\n")
    (folder / "models" / REPO / "pytorch_model.bin").write_bytes(b"a pickle")
    hub = server.start(folder / "models")
    files, missing = download()

    theirs = python(hub, folder / "theirs", files + "\n" + missing, HF_TOKEN="hf_x")
    python_asked = asked(hub)
    snapshot = ours(hub, folder / "ours", "pull", REPO, HF_TOKEN="hf_x")
    pull_asked = asked(hub)
    for name, requests in (("huggingface_hub", python_asked), ("vit-gpu", pull_asked)):
        check(f"{name} sends the token to the hub only", all((token is None) == second for *_, second, token in requests), requests)
    left, right = tree(folder / "ours"), tree(folder / "theirs")
    check("both write the same files, links and marks", left == right, left, right)
    check("both find the model in the same folder", Path(theirs.split()[0]).parent.name == Path(snapshot).name)

    python(hub, folder / "ours", files)
    requests = asked(hub)
    check("huggingface_hub reads what vit-gpu wrote and downloads nothing", {method for method, *_ in requests} <= {"HEAD"}, requests)
    python(hub, folder / "ours", files, HF_HUB_OFFLINE="1")
    python(hub, folder / "ours", f"h.snapshot_download('{REPO}', allow_patterns={list(FILES)!r})")
    requests = asked(hub)
    check("its snapshot_download too", not any("/resolve/" in path and method == "GET" for method, path, *_ in requests), requests)
    python(hub, folder / "ours", f"assert h.scan_cache_dir().warnings == [] and len(h.scan_cache_dir().repos) == 1")
    check("its scan of the cache finds nothing odd", True)

    ours(hub, folder / "theirs", "info", REPO)
    requests = asked(hub)
    check("vit-gpu reads what huggingface_hub wrote with one request", len(requests) == 1, requests)
    ours(hub, folder / "theirs", "info", REPO, HF_HUB_OFFLINE="1")
    ours(hub, folder / "theirs", "info", f"{REPO}@{Path(snapshot).name}")
    check("and with none offline or by commit", asked(hub) == [])
    python(hub, folder / "snapshot", f"h.snapshot_download('{REPO}')")
    asked(hub)
    ours(hub, folder / "snapshot", "info", REPO, HF_HUB_OFFLINE="1")
    check("it reads what snapshot_download wrote, offline", asked(hub) == [])

    waits(hub, folder)


def waits(hub, folder):
    """While Python holds the lock of a file, vit-gpu waits."""
    pointer = next((folder / "ours").glob("models--*/snapshots/*/model.safetensors"))
    lock = folder / "waiting/.locks/models--owner--nano" / (Path(os.readlink(pointer)).name + ".lock")
    lock.parent.mkdir(parents=True)
    code = f"from huggingface_hub.utils import WeakFileLock as L\nimport time\nwith L({str(lock)!r}):\n    print('held', flush=True)\n    time.sleep(3)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    holder.stdout.readline()
    start = time.monotonic()
    ours(hub, folder / "waiting", "pull", REPO)
    check("vit-gpu waits for a lock that huggingface_hub holds", time.monotonic() - start > 2)
    holder.wait()


if __name__ == "__main__":
    program = str(Path(sys.argv[1]).resolve())
    with tempfile.TemporaryDirectory() as folder:
        main(Path(folder))
