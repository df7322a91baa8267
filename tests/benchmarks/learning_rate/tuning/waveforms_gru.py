"""A gated recurrent network that tells kinds of noisy oscillation apart, by RMSprop."""

from __future__ import annotations

import math

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn

import lrtune

SAMPLES, FRAME = 24, 3


def _waves() -> Split:
    draw = torch.Generator().manual_seed(3)
    count = 3500
    kind = torch.randint(5, (count,), generator=draw)
    frequency = 1.5 + 2 * torch.rand(count, 1, generator=draw)
    time = torch.linspace(0, 1, SAMPLES)
    phase = 2 * math.pi * (frequency * time + torch.rand(count, 1, generator=draw))
    sine = torch.sin(phase)
    sawtooth = (phase / math.pi) % 2 - 1
    chirp = torch.sin(phase * (0.5 + time))
    fading = sine * torch.exp(-2 * time)
    shapes = torch.stack([sine, sine.sign(), sawtooth, chirp, fading])
    waves = shapes[kind, torch.arange(count)] + 0.25 * torch.randn(count, SAMPLES, generator=draw)
    return split_rows(waves.unflatten(1, (-1, FRAME)), kind, 3000)


class _GRU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(FRAME, 40, batch_first=True), nn.Linear(40, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(x)[0][:, -1])


def _task() -> lrtune.Task:
    train, val = _waves().datasets()
    return lrtune.Task(model=_GRU, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="waveforms-gru",
    task=_task,
    config={"batch_size": 50, "optimizer": {"name": "rmsprop"}, "coarse": {"epochs": 4}},
    guess=1e-3,
)
