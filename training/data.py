"""Packs into device memory: every image as uint8 on the device, so that a step reads nothing from the host."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import packs
from fault import Fault


@dataclass
class Dataset:
    """Both splits on the device: images (N, 3, S, S) uint8, labels (N,) int64."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    about: dict

    @property
    def classes(self) -> int:
        return len(self.about["labels"])


def load(paths: list[Path], limit: int | None, device: torch.device, workers: int) -> Dataset:
    """Decodes packs (all parts of one set) and moves them to the device; `limit` keeps that many training images."""
    first, parts = None, {}
    for path in paths:
        header, blobs = packs.read(path)
        if first is None:
            first = header
        for field in ("name", "image_size", "classes", "held_out", "parts"):
            if header[field] != first[field]:
                raise Fault(f"{path}: another data set than {paths[0]} (its `{field}` differs)")
        if header["part"] in parts:
            raise Fault(f"{path}: part {header['part']} was given already")
        splits = [packs.split(name, header, blobs, workers) for name in ("train", header["held_out"])]
        parts[header["part"]] = (header["sha256"], *splits)
    if len(parts) < first["parts"]:
        print(f"{len(parts)} of {first['parts']} parts given: training and measuring on those alone", flush=True)
    held = [parts[part] for part in sorted(parts)]

    def joined(which: int, count: int | None) -> tuple[Tensor, Tensor]:
        pixels = np.concatenate([part[which][0] for part in held])[:count]
        labels = np.concatenate([part[which][1] for part in held])[:count]
        return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).contiguous(), torch.from_numpy(labels).to(device)

    train, train_labels = joined(1, limit)
    test, test_labels = joined(2, None)
    mean, std = statistics(train)
    about = {
        "name": first["name"],
        "image_size": first["image_size"],
        "labels": first["labels"],
        "held_out": first["held_out"],
        "train_images": len(train),
        "test_images": len(test),
        "parts": [len(parts), first["parts"]],
        "sha256": [part[0] for part in held],
        "mean": mean,
        "std": std,
    }
    return Dataset(train, train_labels, test, test_labels, about)


def statistics(images: Tensor) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each channel, of values 0 to 1, to four digits; exact, by counting the 256 values."""
    counts = torch.stack([torch.bincount(images[:, channel].flatten(), minlength=256) for channel in range(3)]).cpu().double()
    values = torch.arange(256, dtype=torch.float64) / 255
    share = counts / counts.sum(1, keepdim=True)
    mean = share @ values
    std = (share @ values**2 - mean**2).sqrt()
    return [round(v, 4) for v in mean.tolist()], [round(v, 4) for v in std.tolist()]


class Batches:
    """Training batches without end: each epoch a permutation of its own seed, so a run resumes at any step."""

    def __init__(self, data: Dataset, batch_size: int, seed: int):
        self.data = data
        self.batch_size = min(batch_size, len(data.train))
        self.steps = len(data.train) // self.batch_size
        self.seed = seed
        self.epoch = None

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) uint8 and labels (B,) of one step."""
        epoch, at = divmod(step, self.steps)
        if epoch != self.epoch:
            generator = torch.Generator().manual_seed(self.seed * 100_003 + epoch)
            self.order = torch.randperm(len(self.data.train), generator=generator).to(self.data.train.device)
            self.epoch = epoch
        chosen = self.order[at * self.batch_size : (at + 1) * self.batch_size]
        return self.data.train[chosen], self.data.train_labels[chosen]
