"""A perceptron on 100,000 rows of 32 features: a cheap step, and a data set that takes time to go through."""

from __future__ import annotations

import torch
from benchmarks.grid.workload import Workload
from torch import nn
from torch.utils.data import TensorDataset

import lrtune

ROWS, VAL, FEATURES = 100_000, 5_000, 32


def make_rows() -> tuple[TensorDataset, TensorDataset]:
    """Return rows of normal features; a random perceptron and noise decide between two classes."""
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(ROWS + VAL, FEATURES, generator=draw)
    hidden = torch.tanh(inputs @ torch.randn(FEATURES, 16, generator=draw) / FEATURES**0.5)
    scores = hidden @ torch.randn(16, 1, generator=draw) + torch.randn(len(inputs), 1, generator=draw)
    targets = (scores > 0).float()
    return TensorDataset(inputs[:ROWS], targets[:ROWS]), TensorDataset(inputs[ROWS:], targets[ROWS:])


def make_mlp() -> nn.Module:
    """Build a perceptron with two hidden layers that maps `[batch, 32]` to logits `[batch, 1]`."""
    return nn.Sequential(nn.Linear(FEATURES, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


def make_task() -> lrtune.Task:
    """Return model, data and loss."""
    train, val = make_rows()
    return lrtune.Task(
        model=make_mlp, train=train, val=val, loss=nn.functional.binary_cross_entropy_with_logits
    )


WORKLOAD = Workload(
    name="tabular_mlp",
    task=make_task,
    optimizer={"name": "adamw"},
    batch_size=256,
    epochs=2,
    rates=(1e-3, 3e-3, 1e-2, 3e-2),
    decays=(0.0, 0.01, 0.1),
)
