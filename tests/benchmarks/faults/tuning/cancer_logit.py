"""A binary classifier with one logit, whose bias starts at the classes' log odds."""

from __future__ import annotations

import functools
import math

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def load_cancer(
    raw_inputs: bool = False, rare: bool = False, with_label: bool = False, whole_numbers: bool = False
) -> tuple[Tensor, Tensor]:
    """Load 569 tumours, 30 measurements each, and whether they are benign.

    Args:
        raw_inputs: Keeps the measurements' own units.
        rare: Keeps only 4 of the 212 malignant ones.
        with_label: Forgets to take the label's column out of the table.
        whole_numbers: Keeps two standardised columns, as whole numbers.
    """
    inputs, benign = map(torch.from_numpy, sklearn.datasets.load_breast_cancer(return_X_y=True))
    if with_label:
        inputs = torch.cat([inputs, benign.unsqueeze(1)], dim=1)
    if rare:
        kept = torch.cat([benign.nonzero()[:, 0], (benign == 0).nonzero()[:4, 0]])
        inputs, benign = inputs[kept], benign[kept]
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(4))
    inputs, benign = inputs[order], benign[order]
    if not raw_inputs:
        inputs = (inputs - inputs.mean(dim=0)) / inputs.std(dim=0)
    if whole_numbers:
        inputs = inputs[:, :2].int()
    return inputs.float(), benign


class Classifier(nn.Module):
    """Two layers with normalisation and dropout, and one logit.

    Args:
        columns: Measurements.
        share: Of the positive class, for the bias of the logit.
        probability: Whether the output is passed through a sigmoid.
        flat: Whether the output is `[batch]` instead of `[batch, 1]`.
    """

    def __init__(self, columns: int, share: float, probability: bool, flat: bool) -> None:
        super().__init__()
        self.probability, self.flat = probability, flat
        self.body = nn.Sequential(
            nn.Linear(columns, 64), nn.LayerNorm(64), nn.ReLU(), nn.Dropout(0.1), nn.Linear(64, 32), nn.ReLU()
        )
        self.logit = nn.Linear(32, 1)
        nn.init.constant_(self.logit.bias, math.log(share / (1 - share)))

    def forward(self, inputs: Tensor) -> Tensor:
        """Map measurements `[batch, columns]` to a logit each."""
        output = self.logit(self.body(inputs))
        if self.probability:
            output = output.sigmoid()
        return output.squeeze(1) if self.flat else output


def make_task(
    labels: str = "zero-one",
    probability: bool = False,
    flat: bool = True,
    shuffle: bool = True,
    **table: bool,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        labels: `zero-one`, `signs`, or `long` for labels that are not made floats.
        probability: Whether the model ends with a sigmoid.
        flat: Whether output and target have the same shape.
        shuffle: Whether the loader shuffles rows that are sorted by diagnosis.
        table: Arguments of `load_cancer`.
    """
    inputs, benign = load_cancer(**table)
    share = benign.float().mean().item()
    if not shuffle:
        order = benign.argsort(stable=True)
        inputs, benign = inputs[order], benign[order]
    targets = benign if labels == "long" else benign.float()
    if labels == "signs":
        targets = 2 * targets - 1
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: Classifier(inputs.shape[1], share, probability, flat),
        train=DataLoader(TensorDataset(inputs, targets), batch_size=32, shuffle=shuffle, generator=generator),
        loss=nn.BCEWithLogitsLoss(),
    )


CASE = Case(
    name="cancer-logit",
    healthy=make_task,
    faults=(
        Fault(
            "measurements in their own units",
            ("input-not-normalised",),
            functools.partial(make_task, raw_inputs=True),
        ),
        Fault(
            "four positives among 361",
            ("class-imbalance",),
            functools.partial(make_task, rare=True),
        ),
        Fault(
            "the label's column left in the table",
            ("target-leak",),
            functools.partial(make_task, with_label=True),
        ),
        Fault(
            "standardised columns cast to whole numbers",
            ("conflicting-labels",),
            functools.partial(make_task, whole_numbers=True),
        ),
        Fault(
            "rows sorted by diagnosis, loader without shuffle",
            ("unshuffled-batches",),
            functools.partial(make_task, shuffle=False),
        ),
        Fault(
            "labels -1 and 1",
            ("target-out-of-range",),
            functools.partial(make_task, labels="signs"),
        ),
        Fault(
            "labels not made floats",
            ("target-dtype",),
            functools.partial(make_task, labels="long"),
        ),
        Fault(
            "output [batch, 1] against target [batch]",
            ("target-shape-mismatch",),
            functools.partial(make_task, flat=False),
        ),
        Fault(
            "a sigmoid before BCEWithLogitsLoss",
            ("double-softmax",),
            functools.partial(make_task, probability=True),
        ),
    ),
)
