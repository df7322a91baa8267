"""A regression on correlated sensors whose deviations span two decades: an ill-conditioned problem for SGD."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import nn

import lrtune

SENSORS, SOURCES = 20, 6


def _readings() -> Split:
    draw = torch.Generator().manual_seed(2)
    sources = torch.randn(3600, SOURCES, generator=draw)
    mixing = torch.randn(SOURCES, SENSORS, generator=draw) / SOURCES**0.5
    noise = 0.3 * torch.randn(3600, SENSORS, generator=draw)
    readings = (sources @ mixing + noise) * torch.logspace(-1.0, 1.0, SENSORS)
    target = sources[:, 0] * sources[:, 1] + torch.sin(2 * sources[:, 2]) + sources[:, 3:].sum(dim=1)
    target = target + 0.2 * torch.randn(3600, generator=draw)
    return split_rows(readings, ((target - target.mean()) / target.std()).unsqueeze(1), 3000)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(SENSORS, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU(), nn.Linear(64, 1))


def _task() -> lrtune.Task:
    train, val = _readings().datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=nn.functional.mse_loss)


CASE = Case(
    name="sensors-regression",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 4}},
    guess=0.1,
)
