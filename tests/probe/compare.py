"""Compares `vit-gpu probe` with scikit-learn's LogisticRegressionCV on the same features, the same grid and the same folds.

    pip install scikit-learn numpy
    python tests/probe/compare.py target/checked/vit-gpu PHOTOS [--features cls|mean|both] [options of `vit-gpu probe`]

PHOTOS has a folder of photos for each class. The features are taken from `vit-gpu embed`, so that probe's own way to them is
compared as well. The exit code is 1 if the accuracies on the held-out photos are more than one point apart.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.model_selection import PredefinedSplit
from sklearn.preprocessing import StandardScaler

POINT = 0.01


def run(program, *args):
    done = subprocess.run([program, *args], stdout=subprocess.PIPE, text=True)
    if done.returncode not in (0, 1):
        sys.exit(f"{' '.join(args)} ended with code {done.returncode}")
    return done.stdout


def model_options(options):
    """Those of the options that choose the model, for `embed`."""
    chosen = []
    for name in ("-m", "--model", "-d", "--device", "--image-size"):
        if name in options:
            chosen += [name, options[options.index(name) + 1]]
    return chosen


def embedded(program, photos, options, folder):
    """The class tokens and the means of the patches, by the names of the photos."""
    parts = []
    for of in ("tokens", "patches"):
        file = Path(folder) / f"{of}.npz"
        run(program, "embed", photos, "--of", of, "-o", str(file), *model_options(options))
        arrays = np.load(file)
        values = arrays["embeddings"].astype(np.float64)
        parts.append(values[:, 0] if of == "tokens" else values.mean((1, 2)))
        names = [name.decode() for name in arrays["images"]]
    kind = options[options.index("--features") + 1] if "--features" in options else "both"
    rows = {"cls": parts[0], "mean": parts[1], "both": np.hstack(parts)}[kind]
    return dict(zip(names, rows))


def main():
    program, photos, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        start = time.time()
        ours = json.loads(run(program, "probe", photos, "-o", f"{folder}/head.safetensors", "-f", "json", *options))
        ours_s = time.time() - start
        features = embedded(program, photos, options, folder)
    folds = ours["training"]["folds"]
    train = [(name, fold) for fold, names in enumerate(folds) for name in names]

    def part(names):
        return np.array([features[name] for name in names]), np.array([Path(name).parent.name for name in names])

    x, y = part([name for name, _ in train])
    x_test, y_test = part(ours["held_out"])
    scale = StandardScaler().fit(x)
    grid = [entry["c"] for entry in ours["training"]["grid"]]
    start = time.time()
    theirs = LogisticRegressionCV(
        Cs=grid, cv=PredefinedSplit([fold for _, fold in train]), max_iter=10000, l1_ratios=(0,), use_legacy_attributes=False
    )
    theirs.fit(scale.transform(x), y)
    theirs_s = time.time() - start
    accuracy = theirs.score(scale.transform(x_test), y_test)
    validation = np.asarray(theirs.scores_).mean(0).ravel()
    print(f"{len(y)} photos to train on, {len(y_test)} held out, {x.shape[1]} features")
    for entry, score in zip(ours["training"]["grid"], validation):
        print(f"  C {entry['c']:10.3e}: cross-validation {100 * entry['accuracy']:.2f} %, scikit-learn {100 * score:.2f} %")
    print(f"vit-gpu:      C {ours['training']['c']:.3e}, held out {100 * ours['top1']:.2f} % ({ours_s:.1f} s with features)")
    print(f"scikit-learn: C {float(np.ravel(theirs.C_)[0]):.3e}, held out {100 * accuracy:.2f} % ({theirs_s:.1f} s)")
    sys.exit(abs(ours["top1"] - accuracy) > POINT)


if __name__ == "__main__":
    main()
