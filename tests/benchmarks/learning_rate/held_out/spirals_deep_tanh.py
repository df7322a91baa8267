"""Fourteen plain tanh layers with orthogonal weights tell the arms of a spiral apart, by plain SGD."""

from __future__ import annotations

import itertools
import math

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import nn

import lrtune

ARMS, DEPTH, WIDTH = 4, 14, 40


def _spirals() -> Split:
    draw = torch.Generator().manual_seed(32)
    count = 5000
    arm = torch.randint(ARMS, (count,), generator=draw)
    radius = 0.2 + 1.8 * torch.rand(count, generator=draw)
    angle = 2 * math.pi * arm / ARMS + 1.8 * radius + 0.2 * torch.randn(count, generator=draw)
    return split_rows(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), arm, 4096)


def _mlp() -> nn.Module:
    sizes = [2, *[WIDTH] * DEPTH]
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(sizes):
        linear = nn.Linear(inputs, outputs)
        nn.init.orthogonal_(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Tanh()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, ARMS))


def _task() -> lrtune.Task:
    train, val = _spirals().datasets()
    return lrtune.Task(model=_mlp, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="spirals-deep-tanh",
    task=_task,
    config={"batch_size": 64, "optimizer": {"name": "sgd"}, "coarse": {"epochs": 4}},
    guess=0.1,
)
