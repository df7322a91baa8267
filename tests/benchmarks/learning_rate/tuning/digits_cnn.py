"""A convolutional network with batch normalisation that classifies shifted digits, by SGD with Nesterov's momentum."""

from __future__ import annotations

from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import nn

import lrtune


def _convolution(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def _cnn() -> nn.Module:
    return nn.Sequential(
        _convolution(1, 8),
        _convolution(8, 24),
        nn.Flatten(),
        nn.Linear(24 * 2 * 2, 48),
        nn.ReLU(),
        nn.Linear(48, 10),
    )


def _task() -> lrtune.Task:
    train, val = standardise_pixels(load_digits(copies=4, seed=1)).datasets()
    return lrtune.Task(model=_cnn, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="digits-cnn",
    task=_task,
    config={
        "batch_size": 128,
        "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True},
        "coarse": {"epochs": 3},
    },
    guess=0.1,
)
