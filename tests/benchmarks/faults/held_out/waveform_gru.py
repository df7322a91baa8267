"""A two-layer GRU names the shape of a noisy wave from its last state; batches are a list of tensors."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional

import lrtune

STEPS = 24


def _waves(count: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    shape = torch.randint(4, (count,), generator=draw)
    frequency = 1.5 + 2.0 * torch.rand(count, 1, generator=draw)
    turns = torch.linspace(0, 1, STEPS) * frequency + torch.rand(count, 1, generator=draw)
    saw = 2 * (turns - turns.floor()) - 1
    sine = torch.sin(2 * math.pi * turns)
    kinds = torch.stack([1.41 * sine, sine.sign(), 1.73 * saw, 3.46 * (saw.abs() - 0.5)])
    clean = kinds[shape, torch.arange(count)]
    both = torch.stack([clean, clean.roll(1, dims=1)], dim=-1)
    return (both + 0.2 * torch.randn(both.shape, generator=draw)) / 1.02, shape


class _GRU(nn.Module):
    """Stacked recurrent layers, the last state read by a linear layer."""

    def __init__(
        self,
        batch_first: bool = True,
        read_initial: bool = False,
        random_start: bool = False,
        tower: bool = False,
    ) -> None:
        super().__init__()
        self.read_initial, self.random_start = read_initial, random_start
        self.gru = nn.GRU(2, 48, num_layers=2, batch_first=batch_first)
        self.tower = [nn.Linear(48, 48), nn.Linear(48, 48)] if tower else None
        self.head = nn.Linear(48, 4)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0] if self.gru.batch_first else x.shape[1]
        h0 = torch.zeros(2, rows, 48)
        if self.random_start:
            h0 = torch.randn(2, rows, 48)
        out, _ = self.gru(x, h0)
        last = h0[-1] if self.read_initial else out[:, -1]
        for layer in self.tower or []:
            last = last + torch.tanh(layer(last))
        return self.head(last)


def _task(last_label_only: bool = False, stray_mixup: bool = False, **network: bool) -> lrtune.Task:
    x, y = _waves(960, seed=20)
    val_x, val_y = _waves(256, seed=21)
    if last_label_only:
        # Files are read one a class; the label of the file is bound late.
        y = torch.full_like(y, int(y[-1]))
    batches = list(zip(x.split(48), y.split(48), strict=True))

    def loss(output: Tensor, target: Tensor) -> Tensor:
        if stray_mixup:
            target = target[torch.randperm(len(target))]
        return functional.cross_entropy(output, target)

    return lrtune.Task(
        model=lambda: _GRU(**network),
        train=batches,
        val=[(val_x, val_y)],
        loss=loss,
    )


CASE = Case(
    name="waveform-gru",
    healthy=_task,
    faults=(
        Fault("the GRU takes the batch for time", ("batch-mixing",), partial(_task, batch_first=False)),
        Fault(
            "the head reads the initial state",
            ("input-ignored", "parameter-without-gradient"),
            partial(_task, read_initial=True),
        ),
        Fault(
            "the initial state is drawn anew, in evaluation too",
            ("nondeterministic-model",),
            partial(_task, random_start=True),
        ),
        Fault(
            "layers after the GRU in a plain list", ("unregistered-parameter",), partial(_task, tower=True)
        ),
        Fault(
            "every wave gets the label of the last file",
            ("constant-target",),
            partial(_task, last_label_only=True),
        ),
        Fault(
            "labels permuted, inputs not: half of a mixup",
            ("cannot-overfit",),
            partial(_task, stray_mixup=True),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
