"""Malignant or benign: scikit-learn's breast cancer data, and a positive class that weighs more."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune


class Biopsies(Dataset[tuple[Tensor, Tensor]]):
    """Measurements of a biopsy and whether it is malignant.

    Args:
        split: `train` or `val`.
        scaled: Whether the measurements are standardised.
        columns: `measurements`, or the whole `table`, of which the diagnosis is the last column.
        target_shape: Of one target.
        by_class: Whether the malignant cases come first.
    """

    def __init__(
        self,
        split: str,
        scaled: bool = True,
        columns: str = "measurements",
        target_shape: tuple[int, ...] = (1,),
        by_class: bool = False,
    ) -> None:
        bunch = sklearn.datasets.load_breast_cancer()
        malignant = 1 - bunch.target
        table = np.column_stack([bunch.data, malignant])
        x = table if columns == "table" else table[:, :-1]
        order = np.random.default_rng(4).permutation(len(x))
        train = order[:480]
        rows = train if split == "train" else order[480:]
        if scaled:
            x = (x - x[train].mean(axis=0)) / x[train].std(axis=0)
        if by_class:
            rows = np.concatenate([rows[malignant[rows] == 1], rows[malignant[rows] == 0]])
        self.x = torch.tensor(x[rows], dtype=torch.float32)
        self.y = torch.tensor(malignant[rows], dtype=torch.float32).reshape(-1, *target_shape)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.x[index], self.y[index]

    def pos_weight(self) -> Tensor:
        """Return how many negatives there are for each positive."""
        positives = self.y.sum()
        return (len(self.y) - positives) / positives


class Diagnosis(nn.Module):
    """A perceptron with one logit.

    Args:
        features: Of the input.
        hidden: Units of a hidden layer.
        softmax: Whether the output goes through a softmax.
        prior_bias: Whether all biases start at the logit of a rare class.
    """

    def __init__(
        self, features: int, hidden: int = 64, softmax: bool = False, prior_bias: bool = False
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(features, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU()
        )
        self.head = nn.Linear(hidden, 1)
        self.activation = nn.Softmax(dim=1) if softmax else nn.Identity()
        if prior_bias:
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.constant_(module.bias, -4.6)  # the logit of 0.01, as focal loss wants it

    def forward(self, x: Tensor) -> Tensor:
        """Map measurements `[batch, features]` to a logit `[batch, 1]`."""
        return self.activation(self.head(self.body(x)))


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, head_only: bool = False
) -> torch.optim.Optimizer:
    """Build Adam."""
    parameters = model.head.parameters() if head_only else model.parameters()
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)


def make_task(
    shuffle: bool = True, head_only: bool = False, network: dict[str, Any] | None = None, **data: Any
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = Biopsies("train", **data), Biopsies("val", **data)
    features = train.x.shape[1]
    return lrtune.Task(
        model=lambda: Diagnosis(features, **(network or {})),
        train=DataLoader(train, batch_size=32, shuffle=shuffle),
        val=DataLoader(val, batch_size=32),
        loss=nn.BCEWithLogitsLoss(pos_weight=train.pos_weight()),
        optimizer=functools.partial(make_optimizer, head_only=head_only),
    )


CASE = Case(
    name="biopsy-posweight",
    healthy=make_task,
    faults=(
        Fault(
            "measurements as they are, areas beside fractal dimensions",
            ("input-not-normalised",),
            functools.partial(make_task, scaled=False),
        ),
        Fault(
            "targets [batch] against output [batch, 1]",
            ("target-shape-mismatch",),
            functools.partial(make_task, target_shape=()),
        ),
        Fault(
            "softmax over the only output",
            ("double-softmax", "input-ignored"),
            functools.partial(make_task, network={"softmax": True}),
        ),
        Fault(
            "the bias for a rare class given to the hidden layers too",
            ("dead-units",),
            functools.partial(make_task, network={"prior_bias": True}),
        ),
        Fault(
            "an optimizer of the head alone",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, head_only=True),
        ),
        Fault(
            "malignant cases first, in a loader that does not shuffle",
            ("unshuffled-batches",),
            functools.partial(make_task, by_class=True, shuffle=False),
        ),
        Fault(
            "the diagnosis left among the columns",
            ("target-leak",),
            functools.partial(make_task, columns="table"),
        ),
    ),
)
