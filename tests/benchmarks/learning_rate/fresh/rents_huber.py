"""Rents from skewed columns and districts, with gross errors in the target: Huber's loss, by SGD with momentum."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import nn

import lrtune

FLATS, DISTRICTS = 3600, 12


def _flats() -> Split:
    draw = torch.Generator().manual_seed(14)
    area = 60 * (0.4 * torch.randn(FLATS, generator=draw)).exp()
    age = 80 * torch.rand(FLATS, generator=draw) ** 2
    income = 30 * (0.8 * torch.randn(FLATS, generator=draw)).exp()
    distance = 5 * torch.empty(FLATS).exponential_(generator=draw)
    extras = (torch.rand(FLATS, 4, generator=draw) < 0.3).float()
    district = torch.randint(DISTRICTS, (FLATS,), generator=draw)
    level = 1 + 0.4 * torch.randn(DISTRICTS, generator=draw)[district]
    rent = area * (8 * level + 0.05 * income) * (-distance / 15).exp() * (1 - 0.004 * age)
    rent = rent * (1 + extras @ torch.tensor([0.1, 0.05, 0.2, -0.1]))
    rent = rent / rent.std() + 0.15 * torch.randn(FLATS, generator=draw)
    wrong = torch.rand(FLATS, generator=draw) < 0.03
    rent = torch.where(wrong, rent + 8 * torch.randn(FLATS, generator=draw), rent)
    numbers = torch.stack([area / 60, age / 40, income / 30, distance / 5], dim=1)
    columns = torch.cat([numbers, extras, nn.functional.one_hot(district, DISTRICTS)], dim=1)
    return split_rows(columns, rent.unsqueeze(1), 3072)


def _mlp() -> nn.Module:
    return nn.Sequential(
        nn.Linear(8 + DISTRICTS, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, 64),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Linear(64, 1),
    )


def _task() -> lrtune.Task:
    train, val = _flats().datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=nn.functional.huber_loss)


CASE = Case(
    name="rents-huber",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 3}},
    guess=0.1,
)
