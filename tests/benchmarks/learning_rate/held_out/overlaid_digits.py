"""Which digits lie on top of each other in an image: many labels, a network with batch normalisation, RMSprop."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_digits, standardise_pixels
from torch import Tensor, nn
from torch.nn import functional

import lrtune


def _overlay(images: Tensor, classes: Tensor, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Put one to three digits into each image `[count, 1, 8, 8]`; its labels `[count, 10]` are 0 or 1."""
    chosen = torch.randint(len(images), (count, 3), generator=draw)
    shown = torch.rand(count, 3, generator=draw) < torch.tensor([1.0, 0.7, 0.4])
    overlaid = (images[chosen] * shown[:, :, None, None, None]).amax(dim=1)
    labels = (functional.one_hot(classes[chosen], 10) * shown[:, :, None]).amax(dim=1)
    return overlaid, labels.float()


def _images() -> Split:
    draw = torch.Generator().manual_seed(23)
    single = load_digits(seed=23)
    train = _overlay(single.inputs, single.targets, 7680, draw)
    val = _overlay(single.val_inputs, single.val_targets, 1000, draw)
    return standardise_pixels(Split(*train, *val))


def _cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 4 * 4, 96, bias=False),
        nn.BatchNorm1d(96),
        nn.ReLU(),
        nn.Linear(96, 10),
    )


def _task() -> lrtune.Task:
    train, val = _images().datasets()
    return lrtune.Task(model=_cnn, train=train, val=val, loss=functional.binary_cross_entropy_with_logits)


CASE = Case(
    name="overlaid-digits",
    task=_task,
    config={"batch_size": 256, "optimizer": {"name": "rmsprop"}, "coarse": {"epochs": 5}},
    guess=1e-3,
)
