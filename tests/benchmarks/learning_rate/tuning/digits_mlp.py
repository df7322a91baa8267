"""A perceptron with dropout that classifies digits in small batches, by plain SGD."""

from __future__ import annotations

from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import nn

import lrtune


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 128),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(128, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def _task() -> lrtune.Task:
    train, val = standardise_pixels(load_digits(copies=2)).datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="digits-mlp",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "sgd"}, "coarse": {"epochs": 2}},
    guess=0.1,
)
