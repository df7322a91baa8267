"""Energy of a kiln's firing from its settings (Friedman's function); a NumPy table, self-normalising layers."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from benchmarks.faults.case import Case, Fault
from sklearn.datasets import make_friedman1
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

SCALES = np.array([1300.0, 40.0, 2.5, 0.9, 600.0, 12.0, 3.0])


def read_table(rows: int) -> np.ndarray[Any, Any]:
    """Return settings in their units and the energy in watt-hours, 0 where the meter was off: `[rows, 8]`."""
    settings, energy = make_friedman1(n_samples=rows, n_features=7, noise=0.3, random_state=21)
    energy = 900 * energy.clip(min=0.1)
    energy[::40] = 0.0
    settings[::40, 0] = 0.0
    return np.column_stack([settings * SCALES, energy])


def standardise(columns: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return columns of mean 0 and deviation 1."""
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


class Firings(Dataset[tuple[Tensor, Tensor]]):
    """Rows of the table."""

    def __init__(self, features: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> None:
        self.features = torch.as_tensor(features, dtype=torch.float32)
        self.target = torch.as_tensor(target, dtype=torch.float32)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.target)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        """Return one row."""
        return self.features[row], self.target[row]


class Kiln(nn.Module):
    """Eight hidden layers with SELU."""

    def __init__(self, inputs: int, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.layers = nn.ModuleList([nn.Linear(width, 48) for width in [inputs, *[48] * 7]])
        self.activation = nn.Sigmoid() if bug == "sigmoid" else nn.SELU()
        self.out = nn.Linear(48, 1)
        for layer in self.layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map settings `[batch, inputs]` to the energy `[batch]`."""
        for layer in self.layers:
            x = self.activation(layer(x))
        y = self.out(x)
        if self.bug == "relu":
            y = torch.relu(y)
        return y if self.bug == "column" else y.squeeze(-1)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    table = read_table(1000)
    energy = table[:, -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        target = np.log(energy) if bug == "log" else np.sqrt(energy)
        if bug == "log":
            target = standardise(target)
    if bug == "raw":
        target = energy
    elif bug != "log":
        target = standardise(target)
    features = standardise(table[:, :-1])
    if bug == "leak":
        features = np.column_stack([features, target])
    return lrtune.Task(
        model=lambda: Kiln(features.shape[1], bug),
        train=Firings(features[:850], target[:850]),
        val=Firings(features[850:], target[850:]),
        loss=nn.MSELoss(),
        metrics={"mae": nn.functional.l1_loss},
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="kilns-regression",
    healthy=make_task,
    config={"optimizer": {"name": "adam"}},
    faults=(
        # Stack Overflow and torch's own warning, MSELoss of [batch, 1] and [batch]; Islam 2019.
        fault(
            "the output is a column, the target is not", "column", "broadcast-target", "target-shape-mismatch"
        ),
        # Holden's list, "normalise the outputs, too"; Humbatova 2020, "missing preprocessing".
        fault("the target stays in watt-hours", "raw", "target-not-normalised"),
        # Holden's list, "wrong activation on the final layer"; DeepDiagnosis; Stack Overflow, ReLU for regression.
        fault(
            "a ReLU after the last layer, before standardised targets",
            "relu",
            "target-out-of-range",
            "cannot-overfit",
        ),
        # Kaufman 2012, "Leakage in data mining"; stats.stackexchange 481881 (the answer among the inputs).
        fault("the target's column stays among the features", "leak", "target-leak"),
        # AutoTrainer and DeepDiagnosis, vanishing gradient: sigmoid in deep stacks.
        fault("sigmoids in eight hidden layers", "sigmoid", "vanishing-gradient"),
        # DeepLocalize, Zhang 2018: log of zero.
        fault("the logarithm of an energy of zero is the target", "log", "nonfinite-target"),
    ),
)
