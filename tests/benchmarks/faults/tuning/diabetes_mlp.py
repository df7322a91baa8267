"""A perceptron that predicts the course of diabetes; ten measurements and the target are standardised."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def standardise(columns: Tensor) -> Tensor:
    """Scale columns to mean 0 and deviation 1 over the training rows, the first 360."""
    return (columns - columns[:360].mean(dim=0)) / columns[:360].std(dim=0)


def load_diabetes(raw_inputs: bool = False, target: str = "standard") -> tuple[TensorDataset, TensorDataset]:
    """Load 442 patients.

    Args:
        raw_inputs: Keeps years, mmHg and mg/dl.
        target: `standard`; `raw` (25 to 346); `flat`, without the column's dimension; `long`, as for classes;
            `centred-rows`, whose mean is taken over the wrong dimension; `missing`, with gaps.
    """
    inputs, progression = map(torch.from_numpy, sklearn.datasets.load_diabetes(return_X_y=True, scaled=False))
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(3))
    inputs, progression = inputs[order].float(), progression[order].unsqueeze(1)
    if not raw_inputs:
        inputs = standardise(inputs)
    if target == "raw":
        targets = progression.float()
    elif target == "centred-rows":
        targets = ((progression - progression.mean(dim=1, keepdim=True)) / progression.std()).float()
    elif target == "long":
        targets = standardise(progression).long()
    else:
        targets = standardise(progression).float()
    if target == "flat":
        targets = targets.squeeze(1)
    if target == "missing":
        targets[7::40] = torch.nan
    return TensorDataset(inputs[:360], targets[:360]), TensorDataset(inputs[360:], targets[360:])


def make_mlp(positive: bool = False) -> nn.Sequential:
    """Build a network from `[batch, 10]` to `[batch, 1]`, `positive` with an activation after its last layer."""
    model = nn.Sequential(nn.Linear(10, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 1))
    return model.append(nn.ReLU()) if positive else model


def make_fixed_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an optimizer with the rate that was once tried."""
    return torch.optim.SGD(model.parameters(), lr=20.0, momentum=0.9, weight_decay=weight_decay)


def make_task(
    raw_inputs: bool = False, target: str = "standard", positive: bool = False, fixed_rate: bool = False
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = load_diabetes(raw_inputs, target)
    return lrtune.Task(
        model=lambda: make_mlp(positive),
        train=train,
        val=val,
        loss=nn.functional.mse_loss,
        metrics={"mae": nn.functional.l1_loss},
        optimizer=make_fixed_optimizer if fixed_rate else None,
    )


CASE = Case(
    name="diabetes-mlp",
    healthy=make_task,
    faults=(
        Fault(
            "measurements in their own units",
            ("input-not-normalised",),
            functools.partial(make_task, raw_inputs=True),
        ),
        Fault(
            "target in its own units",
            ("target-not-normalised",),
            functools.partial(make_task, target="raw"),
        ),
        Fault(
            "target [batch] against output [batch, 1]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, target="flat"),
        ),
        Fault(
            "standardised target cast to long, as labels are",
            ("target-dtype",),
            functools.partial(make_task, target="long"),
        ),
        Fault(
            "target centred over the wrong dimension",
            ("constant-target",),
            functools.partial(make_task, target="centred-rows"),
        ),
        Fault(
            "gaps in the target",
            ("nonfinite-target",),
            functools.partial(make_task, target="missing"),
        ),
        Fault(
            "an activation after the last layer, which the target's negative half cannot pass",
            ("cannot-overfit",),
            functools.partial(make_task, positive=True),
        ),
        Fault(
            "a rate of 20 left in the optimizer",
            ("loss-explodes",),
            functools.partial(make_task, fixed_rate=True),
        ),
    ),
    config={"batch_size": 32},
)
