"""Failures of pumps, three in a hundred, from their sensors; cross-entropy weighted by class, a Dataset in memory."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

SHARE = 0.03


def read_sensors(pumps: int) -> tuple[Tensor, Tensor]:
    """Draw standardised readings `[pumps, 10]` and whether each failed."""
    generator = torch.Generator().manual_seed(717)
    failed = torch.arange(pumps) < round(SHARE * pumps)
    readings = torch.randn(pumps, 10, generator=generator)
    readings[:, :3] += 1.5 * failed.unsqueeze(1) * torch.tensor([1.0, -1.0, 0.7])
    readings = (readings - readings.mean(0)) / readings.std(0)
    order = torch.randperm(pumps, generator=generator)
    return readings[order], failed.long()[order]


def build(bug: str) -> nn.Module:
    """Build a perceptron with layer normalisation."""
    width = 11 if bug == "repairs" else 10
    head = nn.Linear(32, 2)
    if bug == "bias":
        with torch.no_grad():
            head.bias.copy_(torch.tensor([0.0, math.log((1 - SHARE) / SHARE)]))
    return nn.Sequential(nn.Linear(width, 32), nn.LayerNorm(32), nn.ELU(), nn.Linear(32, 32), nn.ELU(), head)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    readings, failed = read_sensors(2400)
    if bug == "repairs":
        spent = failed * (2.0 + torch.rand(len(failed), generator=torch.Generator().manual_seed(1)))
        readings = torch.cat([readings, ((spent - spent.mean()) / spent.std()).unsqueeze(1)], dim=1)
    if bug == "filtered":
        readings, failed = readings[failed == 0], failed[failed == 0]
    elif bug == "sorted":
        order = failed.argsort()
        readings, failed = readings[order], failed[order]
    elif bug == "from 1":
        failed = failed + 1
    weight = torch.tensor([0.5 / (1 - SHARE), 0.5 / SHARE])
    if bug == "reversed":
        weight = weight.flip(0)
    elif bug == "unweighted":
        weight = torch.ones(2)
    generator = torch.Generator().manual_seed(9)
    return lrtune.Task(
        model=lambda: build(bug),
        train=DataLoader(
            TensorDataset(readings[:2000], failed[:2000]), 64, shuffle=bug != "sorted", generator=generator
        ),
        val=DataLoader(TensorDataset(readings[2000:], failed[2000:]), 64),
        loss=nn.CrossEntropyLoss(weight=weight),
        optimizer=lambda model, lr, decay: torch.optim.NAdam(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="pumps-imbalanced",
    healthy=make_task,
    faults=(
        fault("the bias of a rare class with the wrong sign", "bias", "initial-loss-high"),
        fault("a filter that keeps the sound pumps only", "filtered", "constant-target"),
        fault("class weights in the wrong order", "reversed", "class-imbalance"),
        fault("three failures in a hundred and no weights", "unweighted", "class-imbalance"),
        fault("sorted by failure and not shuffled", "sorted", "unshuffled-batches"),
        fault("classes numbered from 1", "from 1", "target-out-of-range"),
        fault("the cost of the repair among the sensors", "repairs", "target-leak"),
    ),
)
