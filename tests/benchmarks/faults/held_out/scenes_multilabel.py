"""Six labels at once from thirty measurements, some of them rare; BCE with logits and biases at the base rates."""

from __future__ import annotations

from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

LABELS = 6


def _scenes(count: int) -> tuple[Tensor, Tensor]:
    """Draw standard normal columns and the strength of each label, which two of three columns act on."""
    draw = torch.Generator().manual_seed(42)
    x = torch.randn(count, 30, generator=draw)
    mix = torch.randn(30, LABELS, generator=draw) * (torch.rand(30, LABELS, generator=draw) < 0.3)
    bend = torch.randn(30, LABELS, generator=draw) * (torch.rand(30, LABELS, generator=draw) < 0.2)
    strength = x @ mix + 0.7 * (x.abs() - 0.8) @ bend
    return x, (strength - strength.mean(dim=0)) / strength.std(dim=0)


class _Tagger(nn.Module):
    def __init__(self, rates: Tensor, last: str) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(30, 96), nn.LayerNorm(96), nn.GELU(), nn.Dropout(0.1), nn.Linear(96, 96), nn.GELU()
        )
        self.tags = nn.Linear(96, LABELS)
        self.last = last
        with torch.no_grad():
            self.tags.bias.copy_(torch.logit(rates))

    def forward(self, x: Tensor) -> Tensor:
        logits = self.tags(self.body(x))
        if self.last == "sigmoid":
            return logits.sigmoid()
        return logits.softmax(dim=1) if self.last == "softmax" else logits


def _divided_twice(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output, target) / len(target)


def _unreduced(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy_with_logits(output, target, reduction="none").mean(dim=0)


def _task(last: str = "logits", loss: object = None, labels: str = "float") -> lrtune.Task:
    x, strength = _scenes(1400)
    tags = (strength > torch.tensor([0.0, 0.3, -0.2, 0.8, 0.5, 1.2])).float()
    rates = tags.mean(dim=0)
    if labels == "unlabelled":
        tags[torch.rand(tags.shape, generator=torch.Generator().manual_seed(1)) < 0.05] = torch.nan
    elif labels == "integer":
        tags = tags.long()
    elif labels == "truncated":
        # Confidences of the annotators lie in [0, 1]; the cast comes before the threshold.
        tags = (strength.sigmoid().int() > 0.5).float()
    return lrtune.Task(
        model=lambda: _Tagger(rates, last),
        train=TensorDataset(x[:1120], tags[:1120]),
        val=TensorDataset(x[1120:], tags[1120:]),
        loss=loss or nn.BCEWithLogitsLoss(),
    )


CASE = Case(
    name="scenes-multilabel",
    healthy=_task,
    faults=(
        Fault("sigmoid, then BCE with logits", ("double-softmax",), partial(_task, last="sigmoid")),
        Fault(
            "softmax over labels that occur together",
            ("cannot-overfit",),
            partial(_task, last="softmax", loss=nn.BCELoss()),
        ),
        Fault(
            "the mean is divided by the batch again", ("loss-not-mean",), partial(_task, loss=_divided_twice)
        ),
        Fault("one loss a label", ("loss-not-scalar",), partial(_task, loss=_unreduced)),
        Fault("labels nobody gave are NaN", ("nonfinite-target",), partial(_task, labels="unlabelled")),
        Fault("integer labels for BCE", ("target-dtype",), partial(_task, labels="integer")),
        Fault(
            "confidences cast to int before the threshold",
            ("constant-target",),
            partial(_task, labels="truncated"),
        ),
    ),
)
