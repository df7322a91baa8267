"""A bidirectional GRU that names gestures from an accelerometer; recordings are padded in front, time comes first."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

GESTURES = 5
STEPS = 40


def record_gestures(recordings: int, kept_steps: int) -> tuple[Tensor, Tensor]:
    """Draw standardised accelerations `[recordings, steps, 3]` and which gesture made them.

    Args:
        recordings: How many.
        kept_steps: Steps that each is cut to, from its start.
    """
    generator = torch.Generator().manual_seed(505)
    gestures = torch.randint(GESTURES, (recordings,), generator=generator)
    series = torch.zeros(recordings, STEPS, 3)
    for row, gesture in enumerate(gestures.tolist()):
        length = int(torch.randint(15, STEPS + 1, (), generator=generator))
        time = torch.linspace(0, 1, length)
        turns = 1.0 + 0.5 * gesture
        phase = 0.6 * torch.randn((), generator=generator)
        angle = 2 * math.pi * turns * time + phase
        sign = -1.0 if gesture % 2 else 1.0
        clean = torch.stack([angle.sin(), sign * angle.cos(), (turns - 2) * (2 * time - 1)], dim=1)
        series[row, -length:] = 1.4 * clean + 0.2 * torch.randn(length, 3, generator=generator)
    return series[:, :kept_steps].contiguous(), gestures


class GestureGRU(nn.Module):
    """A GRU in both directions, whose last states a linear layer reads.

    Args:
        viewed_time: Brings time to the front with `view` instead of `transpose`.
        viewed_state: Joins the directions with `view` instead of `cat`.
        detached: Cuts the head's gradient off from the states.
    """

    def __init__(self, viewed_time: bool, viewed_state: bool, detached: bool) -> None:
        super().__init__()
        self.viewed_time, self.viewed_state, self.detached = viewed_time, viewed_state, detached
        self.gru = nn.GRU(3, 32, bidirectional=True)
        self.head = nn.Linear(64, GESTURES)

    def forward(self, series: Tensor) -> Tensor:
        """Map accelerations `[batch, steps, 3]` to logits `[batch, gestures]`."""
        batch, steps, axes = series.shape
        x = series.view(steps, batch, axes) if self.viewed_time else series.transpose(0, 1)
        _, state = self.gru(x)
        if self.detached:
            state = state.detach()
        features = state.view(batch, -1) if self.viewed_state else torch.cat([state[0], state[1]], dim=1)
        return self.head(features)


def gru_only(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Build AdamW for the recurrent part alone."""
    return torch.optim.AdamW(model.gru.parameters(), lr=learning_rate, weight_decay=weight_decay)


def all_parameters(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Build AdamW for the whole model."""
    return torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=weight_decay)


def make_task(
    kept_steps: int = STEPS,
    reduction: str = "mean",
    without_head: bool = False,
    viewed_time: bool = False,
    viewed_state: bool = False,
    detached: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        kept_steps: Steps that recordings are cut to.
        reduction: Of the cross-entropy.
        without_head: Whether the optimizer gets the GRU alone.
        viewed_time: Whether `view` stands for a transposition.
        viewed_state: Whether `view` stands for a concatenation.
        detached: Whether the states are detached before the head.
    """
    series, gestures = record_gestures(1000, kept_steps)
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: GestureGRU(viewed_time, viewed_state, detached),
        train=DataLoader(
            TensorDataset(series[:800], gestures[:800]), 32, shuffle=True, drop_last=True, generator=generator
        ),
        val=DataLoader(TensorDataset(series[800:], gestures[800:]), 32, drop_last=True),
        loss=nn.CrossEntropyLoss(reduction=reduction),
        optimizer=gru_only if without_head else all_parameters,
    )


CASE = Case(
    name="gestures-gru",
    healthy=make_task,
    faults=(
        Fault(
            "time brought to the front with view instead of transpose",
            ("batch-mixing",),
            functools.partial(make_task, viewed_time=True),
        ),
        Fault(
            "the directions' states [2, batch, hidden] viewed as [batch, 2 * hidden]",
            ("batch-mixing",),
            functools.partial(make_task, viewed_state=True),
        ),
        Fault(
            "the last states detached before the head",
            ("parameter-without-gradient",),
            functools.partial(make_task, detached=True),
        ),
        Fault(
            "an optimizer without the head",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, without_head=True),
        ),
        Fault(
            "recordings padded in front cut to their first 12 steps",
            ("conflicting-labels",),
            functools.partial(make_task, kept_steps=12),
        ),
        Fault(
            "a loss for each example, never averaged",
            ("loss-not-scalar",),
            functools.partial(make_task, reduction="none"),
        ),
    ),
)
