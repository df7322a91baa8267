"""An autoencoder of digits whose loss is summed over raw pixels, so that it starts in the thousands."""

from __future__ import annotations

from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def _autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Linear(64, 64),
        nn.ReLU(),
        nn.Linear(64, 12),
        nn.ReLU(),
        nn.Linear(12, 64),
        nn.ReLU(),
        nn.Linear(64, 64),
    )


def _squared_error(output: Tensor, target: Tensor) -> Tensor:
    return (output - target).square().sum(dim=1).mean()


def _task() -> lrtune.Task:
    raw = load_digits(copies=3, seed=4)
    scaled = standardise_pixels(raw)
    return lrtune.Task(
        model=_autoencoder,
        train=TensorDataset(scaled.inputs.flatten(1), raw.inputs.flatten(1)),
        val=TensorDataset(scaled.val_inputs.flatten(1), raw.val_inputs.flatten(1)),
        loss=_squared_error,
    )


CASE = Case(
    name="digits-autoencoder",
    task=_task,
    config={"batch_size": 64, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 5}},
    guess=0.1,
)
