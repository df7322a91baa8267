"""Twenty-two plain tanh layers with orthogonal weights, no normalisation and no shortcuts, on digits."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

DEPTH, WIDTH = 22, 48


def _orthogonal(layer: nn.Linear) -> None:
    nn.init.orthogonal_(layer.weight, gain=1.1)
    nn.init.zeros_(layer.bias)


def _normal(std: float, layer: nn.Linear) -> None:
    nn.init.normal_(layer.weight, std=std)
    nn.init.zeros_(layer.bias)


def _low_bias(layer: nn.Linear) -> None:
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.constant_(layer.bias, -2.0)


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient points the other way."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        return -grad


class _ReversedFeatures(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _Reverse.apply(x)


def _mlp(
    initialise: Callable[[nn.Linear], None] | None = _orthogonal,
    activation: type[nn.Module] = nn.Tanh,
    reverse: bool = False,
) -> nn.Module:
    layers: list[nn.Module] = []
    for number in range(DEPTH):
        linear = nn.Linear(64 if number == 0 else WIDTH, WIDTH)
        if initialise is not None:
            initialise(linear)
        layers += [linear, activation()]
    if reverse:
        layers.append(_ReversedFeatures())
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10))


def _task(model: Callable[[], nn.Module] = _mlp) -> lrtune.Task:
    x, y = map(torch.as_tensor, sklearn.datasets.load_digits(return_X_y=True))
    x = ((x - x.mean()) / x.std()).float()
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(12))
    return lrtune.Task(
        model=model,
        train=TensorDataset(x[order[:1280]], y[order[:1280]]),
        val=TensorDataset(x[order[1280:]], y[order[1280:]]),
        loss=nn.functional.cross_entropy,
    )


CASE = Case(
    name="deep-plain-mlp",
    healthy=_task,
    faults=(
        Fault(
            "sigmoids with torch's default weights",
            ("vanishing-gradient",),
            partial(_task, partial(_mlp, None, nn.Sigmoid)),
        ),
        Fault(
            "weights from N(0, 0.01)",
            ("vanishing-gradient",),
            partial(_task, partial(_mlp, partial(_normal, 0.01))),
        ),
        Fault(
            "weights from N(0, 1)",
            ("saturated-units", "exploding-gradient"),
            partial(_task, partial(_mlp, partial(_normal, 1.0))),
        ),
        Fault(
            "ReLU with weights from N(0, 0.4)",
            ("exploding-gradient", "initial-loss-high"),
            partial(_task, partial(_mlp, partial(_normal, 0.4), nn.ReLU)),
        ),
        Fault(
            "ReLU with biases of -2",
            ("dead-units",),
            partial(_task, partial(_mlp, _low_bias, nn.ReLU)),
        ),
        Fault(
            "a gradient reversal left over in front of the head",
            ("wrong-gradient",),
            partial(_task, partial(_mlp, reverse=True)),
        ),
    ),
)
