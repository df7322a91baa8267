"""The diabetes study in clinical units, centred but not scaled: an ill-conditioned regression, by plain SGD."""

from __future__ import annotations

import sklearn.datasets
import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split
from torch import nn

import lrtune

COPIES, TRAIN = 8, 352


def _patients() -> Split:
    """Return the patients; every one is measured several times, each time with an error of some percent."""
    draw = torch.Generator().manual_seed(25)
    measured, progression = map(
        torch.from_numpy, sklearn.datasets.load_diabetes(return_X_y=True, scaled=False)
    )
    order = torch.randperm(len(measured), generator=draw)
    measured, progression = measured[order].float(), progression[order].float().unsqueeze(1) / 10
    measured = measured - measured[:TRAIN].mean(dim=0)
    train = measured[:TRAIN].repeat(COPIES, 1)
    train = train + 0.1 * measured[:TRAIN].std(dim=0) * torch.randn(train.shape, generator=draw)
    return Split(train, progression[:TRAIN].repeat(COPIES, 1), measured[TRAIN:], progression[TRAIN:])


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def _task() -> lrtune.Task:
    train, val = _patients().datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=nn.functional.mse_loss)


CASE = Case(
    name="patients-regression",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "sgd"}, "coarse": {"epochs": 3}},
    guess=0.1,
)
