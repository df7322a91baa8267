"""Poisson regression of hourly counts on the hour, the weather and the season; batches of a loader."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def make_counts(first: int, last: int, target: str = "counts") -> TensorDataset:
    """Draw hours with eight features and how many bicycles were rented in each.

    Args:
        first: The first hour.
        last: The hour after the last.
        target: `counts`; `standard`, scaled like the features; `log`, of counts that may be 0; `flat`, of
            shape `[batch]`.
    """
    generator = torch.Generator().manual_seed(8)
    count = 1400
    hour = 24 * torch.rand(count, generator=generator)
    day = 365 * torch.rand(count, generator=generator)
    weather = torch.randn(count, 2, generator=generator)
    angle, season = 2 * math.pi * hour / 24, 2 * math.pi * day / 365
    weekend = (day.int() % 7 >= 5).float()
    log_rate = (
        1.5 - 0.9 * angle.cos() - 0.4 * season.cos() + 0.3 * weather[:, 0] - 0.3 * weekend * angle.sin()
    )
    counts = torch.poisson(log_rate.exp(), generator=generator).unsqueeze(1)
    columns = [
        angle.sin(),
        angle.cos(),
        (2 * angle).sin(),
        (2 * angle).cos(),
        season.sin(),
        season.cos(),
        weekend,
    ]
    features = torch.cat([torch.stack(columns, dim=1), weather], dim=1)
    features = (features - features.mean(dim=0)) / features.std(dim=0)
    if target == "standard":
        counts = (counts - counts.mean()) / counts.std()
    elif target == "log":
        counts = counts.log()
    elif target == "flat":
        counts = counts.squeeze(1)
    return TensorDataset(features[first:last], counts[first:last])


class ClippedGate(torch.autograd.Function):
    """`x * sigmoid(x)` without storing the sigmoid; its backward pass forgets the product rule."""

    @staticmethod
    def forward(context: Any, features: Tensor) -> Tensor:
        """Return the gated features."""
        context.save_for_backward(features)
        return features * features.sigmoid()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the features."""
        (features,) = context.saved_tensors
        gate = features.sigmoid()
        return gradient * features * gate * (1 - gate)


class RateModel(nn.Module):
    """A perceptron whose output starts at the logarithm of the mean count.

    Args:
        bias: Where the output starts.
        gate_dim: The dimension over which the features' gates sum to 1.
        custom_gate: Whether the activation is the one above.
    """

    def __init__(self, bias: float = 1.8, gate_dim: int = 1, custom_gate: bool = False) -> None:
        super().__init__()
        self.gate_dim, self.custom_gate = gate_dim, custom_gate
        self.gate = nn.Linear(9, 9)
        self.first = nn.Linear(9, 64)
        self.second = nn.Linear(64, 64)
        self.head = nn.Linear(64, 1)
        nn.init.constant_(self.head.bias, bias)

    def activation(self, features: Tensor) -> Tensor:
        """Return the activated features."""
        return ClippedGate.apply(features) if self.custom_gate else nn.functional.silu(features)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, 9]` to the logarithm of the rate `[batch, 1]`."""
        weighted = features * 9 * self.gate(features).softmax(dim=self.gate_dim)
        return self.head(self.activation(self.second(self.activation(self.first(weighted)))))


def make_fixed_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an optimizer with a rate from another program."""
    return torch.optim.SGD(model.parameters(), lr=5.0, momentum=0.9, weight_decay=weight_decay)


def make_task(
    target: str = "counts", log_input: bool = True, fixed_rate: bool = False, **network: Any
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: RateModel(**network),
        train=make_counts(0, 1200, target),
        val=make_counts(1200, 1400, target),
        loss=functools.partial(nn.functional.poisson_nll_loss, log_input=log_input),
        optimizer=make_fixed_optimizer if fixed_rate else None,
    )


CASE = Case(
    name="counts-poisson",
    healthy=make_task,
    faults=(
        Fault(
            "counts standardised",
            ("target-out-of-range",),
            functools.partial(make_task, target="standard"),
        ),
        Fault(
            "logarithm of counts that may be 0",
            ("nonfinite-target",),
            functools.partial(make_task, target="log"),
        ),
        Fault(
            "counts [batch] against output [batch, 1]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, target="flat"),
        ),
        Fault(
            "the loss told that the output is the rate",
            ("nonfinite-loss",),
            functools.partial(make_task, log_input=False, bias=0.0),
        ),
        Fault(
            "the bias starts at a count instead of its logarithm",
            ("initial-loss-high",),
            functools.partial(make_task, bias=6.0),
        ),
        Fault(
            "gates softmaxed over the batch",
            ("batch-mixing",),
            functools.partial(make_task, gate_dim=0),
        ),
        Fault(
            "an activation by hand with half of its derivative",
            ("wrong-gradient",),
            functools.partial(make_task, custom_gate=True),
        ),
        Fault(
            "a rate of 5 left in the optimizer",
            ("loss-explodes",),
            functools.partial(make_task, fixed_rate=True),
        ),
    ),
)
