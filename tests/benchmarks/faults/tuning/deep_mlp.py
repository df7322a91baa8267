"""Twelve plain layers on digits, no normalisation and no skips: all hangs on the initialisation."""

from __future__ import annotations

import functools
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

WIDTH = 48
INITS = {"small": 0.01, "large": 0.6}  # deviations of the weights; He's rule gives 0.2


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """Load the digits as 64 standardised pixels and a class."""
    pixels, labels = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(7))
    images, labels = ((pixels - pixels.mean()) / pixels.std()).float()[order], labels[order]
    return TensorDataset(images[:1400], labels[:1400]), TensorDataset(images[1400:], labels[1400:])


class LeakyClip(torch.autograd.Function):
    """A leaky ReLU by hand, whose backward pass takes the mask of the gradient for that of the input."""

    @staticmethod
    def forward(context: Any, features: Tensor) -> Tensor:
        """Return the features, the negative ones scaled down."""
        return features.where(features > 0, 0.01 * features)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the features."""
        return gradient.where(gradient > 0, 0.01 * gradient)


class HandMade(nn.Module):
    """The activation above as a layer."""

    def forward(self, features: Tensor) -> Tensor:
        """Apply it to each feature."""
        return LeakyClip.apply(features)


def make_mlp(init: str = "he", activation: type[nn.Module] = nn.ReLU, bias: float = 0.0) -> nn.Sequential:
    """Build the network from `[batch, 64]` to logits `[batch, 10]`.

    Args:
        init: `he`; `small` or `large`; `wide-tanh` with a gain of ten over Xavier's rule; `constant`.
        activation: Between the layers.
        bias: The first value of the hidden layers' biases.
    """
    layers: list[nn.Module] = []
    for inputs in (64, *[WIDTH] * 11):
        layer = nn.Linear(inputs, WIDTH)
        nn.init.constant_(layer.bias, bias)
        if init == "he":
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        elif init == "wide-tanh":
            nn.init.xavier_normal_(layer.weight, gain=10.0)
        elif init == "constant":
            nn.init.constant_(layer.weight, 1 / inputs)
        else:
            nn.init.normal_(layer.weight, std=INITS[init])
        layers += [layer, activation()]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def make_stale_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float
) -> torch.optim.Optimizer:
    """Build an SGD for a network that was built before, not for this one."""
    return torch.optim.SGD(make_mlp().parameters(), lr=learning_rate, weight_decay=weight_decay)


def make_task(stale: bool = False, **network: Any) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = load_digits()
    return lrtune.Task(
        model=lambda: make_mlp(**network),
        train=train,
        val=val,
        loss=nn.functional.cross_entropy,
        optimizer=make_stale_optimizer if stale else None,
    )


CASE = Case(
    name="deep-mlp",
    healthy=make_task,
    faults=(
        Fault(
            "weights drawn with deviation 0.01",
            ("vanishing-gradient",),
            functools.partial(make_task, init="small"),
        ),
        Fault(
            "sigmoids through twelve layers",
            ("vanishing-gradient",),
            functools.partial(make_task, activation=nn.Sigmoid),
        ),
        Fault(
            "weights drawn with deviation 0.6",
            ("exploding-gradient", "initial-loss-high"),
            functools.partial(make_task, init="large"),
        ),
        Fault(
            "tanh with ten times Xavier's deviation",
            ("saturated-units", "exploding-gradient"),
            functools.partial(make_task, init="wide-tanh", activation=nn.Tanh),
        ),
        Fault(
            "every layer averages its inputs",
            ("symmetric-init",),
            functools.partial(make_task, init="constant"),
        ),
        Fault(
            "biases start at -2",
            ("dead-units",),
            functools.partial(make_task, bias=-2.0),
        ),
        Fault(
            "an activation by hand with a wrong backward pass",
            ("wrong-gradient",),
            functools.partial(make_task, activation=HandMade),
        ),
        Fault(
            "the optimizer belongs to another network",
            ("optimizer-does-not-step", "parameter-not-in-optimizer"),
            functools.partial(make_task, stale=True),
        ),
    ),
)
