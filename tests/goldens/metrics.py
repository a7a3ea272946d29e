"""Figures of made-up predictions by scikit-learn, torchmetrics and PyTorch, and a logistic regression by scikit-learn.

    python tests/goldens/metrics.py

Writes insight/metrics.json: what src/insight/metrics/ and src/insight/probe/ must give.
"""

import json
import warnings

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    confusion_matrix,
    precision_recall_fscore_support,
    top_k_accuracy_score,
)
from torchmetrics.functional.classification import multiclass_calibration_error, multilabel_average_precision

from common import HERE

warnings.filterwarnings("ignore")


def means(truth, predicted, labels=None):
    return {
        kind: precision_recall_fscore_support(truth, predicted, average=kind, zero_division=0, labels=labels)[:3]
        for kind in ("macro", "micro", "weighted")
    }


def per_class(truth, predicted, labels=None):
    figures = precision_recall_fscore_support(truth, predicted, average=None, zero_division=0, labels=labels)
    return [list(map(float, row)) for row in zip(*figures)]


def single(seed, images, classes, used, scale):
    """Logits of `classes` classes, of which the data has the first `used`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, used, images)
    logits = rng.normal(size=(images, classes)).astype(np.float32)
    logits[np.arange(images), truth] += rng.normal(1.0, 1.5, images).astype(np.float32)
    logits = (logits * scale).astype(np.float32)
    predicted = logits.argmax(1)
    wide = logits.astype(np.float64)
    probability = np.exp(wide - wide.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    seen = sorted(set(truth) | set(predicted))
    matrix = confusion_matrix(truth, predicted, labels=seen)
    return {
        "logits": [[float(v) for v in row] for row in logits],
        "truth": truth.tolist(),
        "top1": accuracy_score(truth, predicted),
        "top5": top_k_accuracy_score(truth, probability, k=5, labels=range(classes)),
        "cross_entropy": torch.nn.functional.cross_entropy(torch.from_numpy(wide), torch.from_numpy(truth)).item(),
        "calibration_error": multiclass_calibration_error(
            torch.from_numpy(logits), torch.from_numpy(truth), classes, n_bins=15
        ).item(),
        "classes": [int(c) for c in seen],
        "confusion": matrix.tolist(),
        "per_class": per_class(truth, predicted),
        "means": means(truth, predicted),
    }


def several(seed, images, labels):
    """Several labels an image, the last label never, and one label never predicted."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, labels)) < 0.3
    truth[:, -1] = False
    logits = rng.normal(size=(images, labels)).astype(np.float32)
    logits[truth] += 1
    logits[:, 0] -= 10
    logits = np.round(logits, 1).astype(np.float32)
    logits[logits == 0] = 0.05
    predicted = logits > 0
    each = [average_precision_score(truth[:, i], logits[:, i]) for i in range(labels)]
    assert np.isclose(np.mean(each), average_precision_score(truth, logits))
    mean = multilabel_average_precision(
        torch.from_numpy(logits).double().sigmoid(), torch.from_numpy(truth).long(), labels, average="macro"
    )
    return {
        "logits": [[float(v) for v in row] for row in logits],
        "truth": [np.flatnonzero(row).tolist() for row in truth],
        "per_label": per_class(truth, predicted),
        "means": means(truth, predicted),
        "average_precision": each,
        "mean_average_precision": mean.item(),
        "exact_match": accuracy_score(truth, predicted),
    }


def regression(seed, examples, width, classes):
    """Features with means and deviations of their own; probabilities of a regression on the standardised ones."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, examples)
    x = rng.normal(size=(classes, width))[truth] + 1.5 * rng.normal(size=(examples, width))
    x = (x * rng.uniform(0.1, 20, width) + rng.normal(0, 30, width)).astype(np.float32)
    x[:, -1] = 3
    wide = x.astype(np.float64)
    deviation = wide.std(0)
    deviation[-1] = 1
    scaled = (wide - wide.mean(0)) / deviation
    wanted = {}
    for c in (0.01, 1.0, 100.0):
        fitted = LogisticRegression(C=c, tol=1e-9, max_iter=100000).fit(scaled, truth)
        wanted[str(c)] = fitted.predict_proba(scaled).tolist()
    return {"features": x.astype(float).tolist(), "truth": truth.tolist(), "probabilities": wanted}


if __name__ == "__main__":
    golden = {
        "single": [single(1, 200, 12, 12, 1.0), single(2, 60, 40, 9, 3.0), single(3, 50, 6, 6, 12.0)],
        "several": several(4, 80, 7),
        "regression": regression(5, 90, 21, 3),
    }
    (HERE / "insight" / "metrics.json").write_text(json.dumps(golden))
