"""From which part of two photographs a coloured patch was cut: a network with batch normalisation, by SGD."""

from __future__ import annotations

import numpy as np
import sklearn.datasets
import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn

import lrtune

SIDE, ROWS, COLUMNS, PATCHES = 12, 2, 3, 4096


def _photos() -> Tensor:
    """Return both photographs at half their size `[2, 3, height, width]`, values from 0 to 1."""
    photos = torch.from_numpy(np.stack(sklearn.datasets.load_sample_images().images)).permute(0, 3, 1, 2)
    return nn.functional.avg_pool2d(photos.float() / 255, 2)


def _patches() -> Split:
    photos = _photos()
    draw = torch.Generator().manual_seed(11)
    height, width = photos.shape[2] - SIDE, photos.shape[3] - SIDE
    photo = torch.randint(2, (PATCHES,), generator=draw)
    top = torch.randint(height, (PATCHES,), generator=draw)
    left = torch.randint(width, (PATCHES,), generator=draw)
    windows = photos.unfold(2, SIDE, 1).unfold(3, SIDE, 1)
    patches = windows[photo, :, top, left]
    lit = patches * (0.6 + 0.8 * torch.rand(PATCHES, 1, 1, 1, generator=draw))
    mirrored = torch.where(torch.rand(PATCHES, 1, 1, 1, generator=draw) < 0.5, lit, lit.flip(3))
    place = photo * ROWS * COLUMNS + top * ROWS // height * COLUMNS + left * COLUMNS // width
    return split_rows((mirrored - 0.4) / 0.25, place, 3072)


def _block(into: int, out: int) -> list[nn.Module]:
    return [nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]


def _cnn() -> nn.Module:
    return nn.Sequential(
        *_block(3, 8),
        nn.MaxPool2d(2),
        *_block(8, 16),
        nn.MaxPool2d(2),
        *_block(16, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 2 * ROWS * COLUMNS),
    )


def _task() -> lrtune.Task:
    train, val = _patches().datasets()
    return lrtune.Task(model=_cnn, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="photos-places-cnn",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 2}},
    guess=0.1,
)
