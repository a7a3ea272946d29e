"""Classifies all images below a folder on a Ray cluster, into Parquet files.

    pip install "ray[data]"
    python ray_classify.py photos/ results/ --model google/vit-base-patch16-224 --workers 2

Each worker holds the model on its own device: give it a GPU with --gpus 1, or cores with --cpus. If a worker dies, Ray
starts another one and repeats its batch. If the whole run dies, run it again: what is in results/ already is left out.
"""

import argparse
from pathlib import Path

import pyarrow
import pyarrow.parquet
import ray

import vit_gpu

ENDINGS = {".jpg", ".jpeg", ".png", ".webp", ".heic", ".tif", ".tiff", ".bmp", ".gif"}


class Worker:
    def __init__(self, model, device, threads):
        self.classify = vit_gpu.Classifier(model, device=device, threads=threads)

    def __call__(self, batch):
        results = self.classify(batch["image"].tolist(), top_k=1, on_error="none")
        best = [result[0] if result else None for result in results]
        # An image that can't be read has a row without a class.
        label = [(one.label or str(one.index)) if one else None for one in best]
        score = [one.score if one else None for one in best]
        types = {"image": pyarrow.string(), "label": pyarrow.string(), "score": pyarrow.float32()}
        return pyarrow.table([batch["image"].tolist(), label, score], schema=pyarrow.schema(list(types.items())))


def done(folder):
    """Images that an earlier run has written; a file that it was still writing is removed."""
    found = set()
    for path in folder.glob("*.parquet"):
        try:
            found.update(pyarrow.parquet.read_table(path, columns=["image"])["image"].to_pylist())
        except pyarrow.ArrowInvalid:
            path.unlink()
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", type=Path)
    parser.add_argument("results", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cpus", type=float, default=1)
    parser.add_argument("--gpus", type=float, default=0)
    parser.add_argument("--batch-size", type=int, default=64)
    options = parser.parse_args()
    earlier = done(options.results)
    paths = (str(path) for path in sorted(options.images.rglob("*")) if path.suffix.lower() in ENDINGS)
    todo = [{"image": path} for path in paths if path not in earlier]
    print(f"{len(earlier)} images are done, {len(todo)} are to do")
    if todo:
        # A file for each block: what one run writes at a time, and what a death can cost.
        blocks = max(options.workers, len(todo) // (4 * options.batch_size))
        images = ray.data.from_items(todo, override_num_blocks=blocks)
        rows = images.map_batches(
            Worker,
            fn_constructor_args=(options.model, options.device, max(1, round(options.cpus))),
            batch_size=options.batch_size,
            compute=ray.data.ActorPoolStrategy(size=options.workers),
            num_cpus=options.cpus,
            num_gpus=options.gpus,
        )
        # Workers may hold all cores, and writing takes little.
        rows.write_parquet(str(options.results), ray_remote_args={"num_cpus": 0})


if __name__ == "__main__":
    main()
