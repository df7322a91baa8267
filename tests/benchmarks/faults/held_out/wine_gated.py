"""A gated net on the wine data; log-probabilities go into cross-entropy, which leaves them as they are."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional

import lrtune

if TYPE_CHECKING:
    from collections.abc import Iterator


class _Batches:
    """Minibatches of tensors in memory, in a new order at every pass unless told otherwise."""

    def __init__(self, x: Tensor, y: Tensor, size: int, shuffle: bool) -> None:
        self.x, self.y, self.size, self.shuffle = x, y, size, shuffle
        self.draw = torch.Generator().manual_seed(0)

    def __len__(self) -> int:
        return -(-len(self.x) // self.size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        rows = torch.randperm(len(self.x), generator=self.draw) if self.shuffle else torch.arange(len(self.x))
        for some in rows.split(self.size):
            yield self.x[some], self.y[some]


class _Gated(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.value = nn.Linear(inputs, outputs)
        self.gate = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x) * torch.sigmoid(self.gate(x))


class _Net(nn.Module):
    def __init__(self, zero: bool, probabilities: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(_Gated(13, 48), _Gated(48, 48), nn.LayerNorm(48), nn.Linear(48, 3))
        self.probabilities = probabilities
        if zero:
            for parameter in self.parameters():
                nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        y = self.layers(x)
        return torch.softmax(y, dim=-1) if self.probabilities else torch.log_softmax(y, dim=-1)


def _optimizer(model: nn.Module, lr: float, weight_decay: float, momentum: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum, weight_decay=weight_decay)


def _task(
    shuffle: bool = True,
    tile: bool = False,
    zero: bool = False,
    probabilities: bool = False,
    momentum: float = 0.9,
    short_labels: bool = False,
) -> lrtune.Task:
    x, y = map(torch.as_tensor, sklearn.datasets.load_wine(return_X_y=True))
    x = ((x - x.mean(dim=0)) / x.std(dim=0)).float()
    if tile:
        # Three times the data: the rows one after another, the labels each three times.
        x, y = x.repeat(3, 1), y.repeat_interleave(3)
    if short_labels:
        y = y.to(torch.int16)
    held = torch.arange(len(x)) % 5 == 0
    return lrtune.Task(
        model=lambda: _Net(zero, probabilities),
        train=_Batches(x[~held], y[~held], 24, shuffle),
        val=_Batches(x[held], y[held], 24, shuffle=False),
        loss=functional.cross_entropy,
        optimizer=partial(_optimizer, momentum=momentum),
    )


CASE = Case(
    name="wine-gated",
    healthy=_task,
    faults=(
        Fault(
            "classes one after another, as in the file",
            ("unshuffled-batches",),
            partial(_task, shuffle=False),
        ),
        Fault("rows tiled one way, labels the other", ("conflicting-labels",), partial(_task, tile=True)),
        Fault("all parameters start at 0", ("symmetric-init",), partial(_task, zero=True)),
        Fault("softmax, then cross-entropy", ("double-softmax",), partial(_task, probabilities=True)),
        Fault("a momentum of 9, for 0.9", ("loss-explodes",), partial(_task, momentum=9.0)),
        Fault("labels as 16-bit integers", ("target-dtype",), partial(_task, short_labels=True)),
    ),
)
