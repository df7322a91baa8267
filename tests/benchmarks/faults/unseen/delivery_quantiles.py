"""Three quantiles of a delivery's duration, by a tanh network under the pinball loss."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

QUANTILES = (0.1, 0.5, 0.9)


def make_deliveries(first: int, last: int, minutes: bool = False, timestamp: bool = False) -> TensorDataset:
    """Draw deliveries with eight features and their duration `[1]`.

    Args:
        first: The first delivery.
        last: The delivery after the last.
        minutes: Whether durations stay in minutes.
        timestamp: Whether the time of order stays in seconds since 1970.
    """
    generator = torch.Generator().manual_seed(31)
    count = 1300
    ordered = 1.7e9 + 86400 * 60 * torch.rand(count, dtype=torch.float64, generator=generator)
    hour = (ordered % 86400 / 3600).float()
    distance = 1 + torch.rand(count, generator=generator) * 9
    rain = (torch.rand(count, generator=generator) < 0.3).float()
    parcels = torch.randint(1, 6, (count,), generator=generator).float()
    rush = torch.exp(-((hour - 17.5) ** 2) / 8)
    noise = torch.randn(count, 3, generator=generator)
    spread = 1 + 2 * rush + 1.5 * rain + 0.2 * distance
    duration = 12 + 3 * distance * (1 + 0.7 * rush) + 5 * rain + 1.5 * parcels + spread * noise[:, 0]
    angle = 2 * math.pi * hour / 24
    columns = [ordered, angle.sin(), angle.cos(), distance, rain, parcels, noise[:, 1], noise[:, 2]]
    features = torch.stack([column.double() for column in columns], dim=1)
    scaled = (features - features.mean(dim=0)) / features.std(dim=0)
    if timestamp:
        scaled[:, 0] = features[:, 0]
    targets = duration.unsqueeze(1)
    if not minutes:
        targets = (targets - targets.mean()) / targets.std()
    return TensorDataset(scaled[first:last].float(), targets[first:last])


class PinballLoss(nn.Module):
    """The mean pinball loss of several quantiles.

    Args:
        quantiles: Of the output's columns.
        unsqueeze: Whether the target lacks a column.
    """

    def __init__(self, quantiles: tuple[float, ...], unsqueeze: bool = False) -> None:
        super().__init__()
        self.unsqueeze = unsqueeze
        self.register_buffer("quantiles", torch.tensor(quantiles))

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """Compare outputs `[batch, quantiles]` with targets `[batch, 1]`."""
        if self.unsqueeze:
            target = target.unsqueeze(1)
        error = target - output
        quantiles = self.quantiles.to(output.device)
        return torch.maximum(quantiles * error, (quantiles - 1) * error).mean()


class QuantileNet(nn.Module):
    """A network whose quantiles cannot cross, for each adds something positive to the one below.

    Args:
        activation: Of the hidden layers.
        hidden: Units of a hidden layer.
        weight_std: Of the initial weights; None is Xavier's.
        cumulate: The dimension along which the steps between quantiles are summed.
        positive: Whether the outputs are cut at 0, as durations are positive.
    """

    def __init__(
        self,
        activation: type[nn.Module] = nn.Tanh,
        hidden: int = 48,
        weight_std: float | None = None,
        cumulate: int = 1,
        positive: bool = False,
    ) -> None:
        super().__init__()
        self.cumulate, self.positive = cumulate, positive
        sizes = [8, hidden, hidden, hidden, hidden, hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(sizes):
            layer = nn.Linear(inputs, outputs)
            if weight_std is None:
                nn.init.xavier_normal_(layer.weight)
            else:
                nn.init.normal_(layer.weight, std=weight_std)
            nn.init.zeros_(layer.bias)
            layers += [layer, activation()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(hidden, len(QUANTILES))

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, 8]` to quantiles `[batch, 3]`."""
        raw = self.head(self.body(features))
        steps = torch.cat([raw[:, :1] - 1, nn.functional.softplus(raw[:, 1:])], dim=1)
        quantiles = steps.cumsum(dim=self.cumulate)
        return quantiles.relu() if self.positive else quantiles


def make_task(unsqueeze: bool = False, network: dict[str, Any] | None = None, **data: bool) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: QuantileNet(**(network or {})),
        train=make_deliveries(0, 1100, **data),
        val=make_deliveries(1100, 1300, **data),
        loss=PinballLoss(QUANTILES, unsqueeze=unsqueeze),
    )


CASE = Case(
    name="delivery-quantiles",
    healthy=make_task,
    faults=(
        Fault(
            "the loss adds a dimension that the target already has",
            ("broadcast-target", "target-shape-mismatch"),
            functools.partial(make_task, unsqueeze=True),
        ),
        Fault(
            "steps between quantiles summed over the batch",
            ("batch-mixing",),
            functools.partial(make_task, network={"cumulate": 0}),
        ),
        Fault(
            "durations in minutes",
            ("target-not-normalised",),
            functools.partial(make_task, minutes=True),
        ),
        Fault(
            "seconds since 1970 among standardised features",
            ("input-not-normalised",),
            functools.partial(make_task, timestamp=True),
        ),
        Fault(
            "ReLU on the output of standardised durations",
            ("target-out-of-range", "cannot-overfit"),
            functools.partial(make_task, network={"positive": True}),
        ),
        Fault(
            "weights of deviation 1 under tanh",
            ("saturated-units",),
            functools.partial(make_task, network={"weight_std": 1.0}),
        ),
        Fault(
            "five layers of sigmoids with small weights",
            ("vanishing-gradient",),
            functools.partial(make_task, network={"activation": nn.Sigmoid, "weight_std": 0.05}),
        ),
    ),
)
