"""Rare and common kinds of heartbeat, labels smoothed: a residual network in time, by SGD with Nesterov's momentum."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

BEATS, LENGTH, KINDS = 3000, 64, 5
SHARES = (0.6, 0.15, 0.1, 0.1, 0.05)


def _bump(time: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    return (-(((time - centre) / width) ** 2) / 2).exp()


def _beats() -> Split:
    """Return traces `[n, 1, LENGTH]`: waves P, R, S and T of changing place and size, drift and muscle noise."""
    draw = torch.Generator().manual_seed(19)
    kind = torch.multinomial(torch.tensor(SHARES), BEATS, replacement=True, generator=draw).unsqueeze(1)

    def about(mean: float, deviation: float) -> Tensor:
        return mean + deviation * torch.randn(BEATS, 1, generator=draw)

    time, beat = torch.arange(LENGTH), about(26, 3)
    wide = torch.where(kind == 1, 1.7, 1.0)  # 1: the ventricle's own beat, wide and without P
    p = torch.where(kind == 1, 0.0, 0.18) * _bump(time, beat - torch.where(kind == 2, 15, 10), about(2, 0.2))
    r = about(1.0, 0.2) * _bump(time, beat, wide * about(1.5, 0.15))
    s = about(-0.25, 0.08) * _bump(time, beat + 3 * wide, wide * about(1.5, 0.15))
    t_size = torch.where(kind == 3, -0.2, 0.3)  # 3: the T wave turned over; 4: the stretch before it raised
    t = (t_size + about(0, 0.05)) * _bump(time, beat + 18, about(4, 0.4))
    raised = torch.where(kind == 4, 0.2, 0.0) * _bump(time, beat + 10, about(4, 0.4))
    drift = (
        about(0, 0.2) + about(0, 0.2) * (time / LENGTH) + about(0, 0.1) * torch.sin(time / 9 + about(0, 3))
    )
    noise = 0.08 * torch.randn(BEATS, LENGTH, generator=draw)
    return split_rows((p + r + s + t + raised + drift + noise).unsqueeze(1), kind.squeeze(1), 2400)


class _Residual(nn.Module):
    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(into, out, 5, stride=2, padding=2, bias=False)
        self.second = nn.Conv1d(out, out, 5, padding=2, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm1d(out), nn.BatchNorm1d(out)
        self.skip = nn.Conv1d(into, out, 1, stride=2, bias=False)

    def forward(self, signal: Tensor) -> Tensor:
        inner = functional.relu(self.first_norm(self.first(signal)))
        return functional.relu(self.second_norm(self.second(inner)) + self.skip(signal))


def _resnet() -> nn.Module:
    return nn.Sequential(
        _Residual(1, 8),
        _Residual(8, 24),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(24, KINDS),
    )


def _smoothed(logits: Tensor, kinds: Tensor) -> Tensor:
    return functional.cross_entropy(logits, kinds, label_smoothing=0.1)


def _task() -> lrtune.Task:
    train, val = _beats().datasets()
    return lrtune.Task(model=_resnet, train=train, val=val, loss=_smoothed)


CASE = Case(
    name="heartbeats-resnet",
    task=_task,
    config={
        "batch_size": 32,
        "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True},
        "coarse": {"epochs": 3},
    },
    guess=0.1,
)
