"""A small convolutional net on 28x28 images: scikit-learn's digits enlarged, and shifted by up to two pixels."""

from __future__ import annotations

import sklearn.datasets
import torch
from benchmarks.grid.workload import Workload
from torch import nn
from torch.utils.data import TensorDataset

import lrtune

TRAIN, VAL = 4000, 500
SHIFT = 2


def make_images() -> tuple[TensorDataset, TensorDataset]:
    """Return training and validation images `[examples, 1, 28, 28]` with their classes; no digit is in both."""
    pixels, classes = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    draw = torch.Generator().manual_seed(0)
    order = torch.randperm(len(classes), generator=draw)
    val, train = order[: len(order) // 5], order[len(order) // 5 :]
    return tuple(_drawn(pixels, classes, part, count, draw) for part, count in ((train, TRAIN), (val, VAL)))


def _drawn(
    pixels: torch.Tensor, classes: torch.Tensor, digits: torch.Tensor, count: int, draw: torch.Generator
) -> TensorDataset:
    chosen = digits[torch.randint(len(digits), (count,), generator=draw)]
    small = pixels[chosen].float().reshape(-1, 1, 8, 8)
    images = nn.functional.interpolate(small, size=28, mode="bilinear", align_corners=False)
    shifts = torch.randint(-SHIFT, SHIFT + 1, (count, 2), generator=draw).tolist()
    moved = torch.stack([image.roll(tuple(by), (1, 2)) for image, by in zip(images, shifts, strict=True)])
    return TensorDataset((moved - moved.mean()) / moved.std(), classes[chosen])


def make_cnn() -> nn.Module:
    """Build three convolutions and a linear head, 13 thousand parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def make_task() -> lrtune.Task:
    """Return model, data and loss."""
    train, val = make_images()
    return lrtune.Task(model=make_cnn, train=train, val=val, loss=nn.functional.cross_entropy)


WORKLOAD = Workload(
    name="image_cnn",
    task=make_task,
    optimizer={"name": "adam"},
    batch_size=64,
    epochs=4,
    rates=(3e-4, 1e-3, 3e-3, 1e-2),
    decays=(0.0, 1e-5, 1e-4),
)
