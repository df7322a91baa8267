"""A normal density for a tide's height in metres: a negative log-likelihood that falls below zero, by Adam."""

from __future__ import annotations

import math

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn
from torch.nn import functional

import lrtune


def _tides() -> Split:
    draw = torch.Generator().manual_seed(24)
    count = 7000
    moon, sun, season = (2 * math.pi * torch.rand(3, count, generator=draw)).unbind()
    wind, pressure = torch.randn(2, count, generator=draw).unbind()
    height = 0.25 * torch.cos(moon) + 0.12 * torch.cos(sun + 0.3) + 0.05 * torch.cos(moon - 2 * season)
    height = height + 0.06 * wind * torch.cos(season) - 0.04 * pressure
    spread = 0.02 * torch.exp(0.8 * wind.abs())
    height = height + spread * torch.randn(count, generator=draw)
    phases = [wave for angle in (moon, sun, season) for wave in (torch.cos(angle), torch.sin(angle))]
    return split_rows(torch.stack([*phases, wind, pressure], dim=1), height, 6000)


def _mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))


def _negative_log_likelihood(output: Tensor, target: Tensor) -> Tensor:
    mean, spread = output.unbind(dim=1)
    return functional.gaussian_nll_loss(mean, target, functional.softplus(spread).square(), full=True)


def _task() -> lrtune.Task:
    train, val = _tides().datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=_negative_log_likelihood)


CASE = Case(
    name="tides-density",
    task=_task,
    config={"batch_size": 128, "optimizer": {"name": "adam"}, "coarse": {"epochs": 5}},
    guess=1e-3,
)
