"""Diabetes' progression by a perceptron with a hand-written swish, under the Huber loss."""

from __future__ import annotations

import functools
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


class SwishFunction(torch.autograd.Function):
    """`x * sigmoid(x)`, which keeps its input alone for the backward pass."""

    @staticmethod
    def forward(context: Any, inputs: Tensor) -> Tensor:
        """Return the activation."""
        context.save_for_backward(inputs)
        return inputs * inputs.sigmoid()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        (inputs,) = context.saved_tensors
        gate = inputs.sigmoid()
        return gradient * gate * (1 + inputs * (1 - gate))


class HastySwishFunction(SwishFunction):
    """The same, with the derivative of the sigmoid alone."""

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the inputs."""
        (inputs,) = context.saved_tensors
        gate = inputs.sigmoid()
        return gradient * gate * (1 - gate)


class Regressor(nn.Module):
    """Two hidden layers and one output.

    Args:
        column: Whether the output is `[batch, 1]` instead of `[batch]`.
        rectified: Whether a ReLU follows the last layer too.
        unit_weights: Whether weights are drawn with deviation 1.
        hasty: Whether swish has the wrong derivative.
    """

    def __init__(
        self, column: bool = False, rectified: bool = False, unit_weights: bool = False, hasty: bool = False
    ) -> None:
        super().__init__()
        self.column, self.rectified = column, rectified
        self.swish = HastySwishFunction.apply if hasty else SwishFunction.apply
        self.layers = nn.ModuleList([nn.Linear(10, 64), nn.Linear(64, 64)])
        self.last = nn.Linear(64, 1)
        for layer in (*self.layers, self.last):
            if unit_weights:
                nn.init.normal_(layer.weight)
            else:
                nn.init.xavier_normal_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map measurements `[batch, 10]` to a progression each."""
        for layer in self.layers:
            inputs = self.swish(layer(inputs))
        output = self.last(inputs)
        if self.rectified:
            output = output.relu()
        return output if self.column else output.squeeze(1)


def load_patients(standardise: bool, raw_target: bool, whole_target: bool) -> TensorDataset:
    """Load 442 patients.

    Args:
        standardise: Whether the columns, which scikit-learn scales to length 1, get deviation 1.
        raw_target: Keeps the progression's own scale, 25 to 346.
        whole_target: Makes the standardised progression a `LongTensor`.
    """
    inputs, targets = map(torch.from_numpy, sklearn.datasets.load_diabetes(return_X_y=True))
    if standardise:
        inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    if not raw_target:
        targets = (targets - targets.mean()) / targets.std()
    return TensorDataset(inputs.float(), targets.long() if whole_target else targets.float())


def make_task(
    standardise: bool = True, raw_target: bool = False, whole_target: bool = False, **net: bool
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        standardise: Argument of `load_patients`.
        raw_target: Argument of `load_patients`.
        whole_target: Argument of `load_patients`.
        net: Arguments of `Regressor`.
    """
    return lrtune.Task(
        model=lambda: Regressor(**net),
        train=load_patients(standardise, raw_target, whole_target),
        loss=nn.HuberLoss(),
    )


CASE = Case(
    name="huber-diabetes",
    healthy=make_task,
    faults=(
        Fault(
            "output [batch, 1] against target [batch]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, column=True),
        ),
        Fault(
            "standardised target as a LongTensor",
            ("target-dtype",),
            functools.partial(make_task, whole_target=True),
        ),
        Fault(
            "a ReLU after the last layer, targets on both sides of 0",
            ("target-out-of-range", "cannot-overfit"),
            functools.partial(make_task, rectified=True),
        ),
        Fault(
            "swish with the derivative of the sigmoid",
            ("wrong-gradient",),
            functools.partial(make_task, hasty=True),
        ),
        Fault(
            "weights drawn with deviation 1",
            ("initial-loss-high", "exploding-gradient"),
            functools.partial(make_task, unit_weights=True),
        ),
        Fault(
            "columns as scikit-learn scales them, deviation 0.05",
            ("input-not-normalised",),
            functools.partial(make_task, standardise=False),
        ),
        Fault(
            "target in its own units",
            ("target-not-normalised",),
            functools.partial(make_task, raw_target=True),
        ),
    ),
    config={"batch_size": 32},
)
