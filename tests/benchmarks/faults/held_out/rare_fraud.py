"""One transaction in ten is a fraud; the output's bias starts at the base rate. Everything in functional style."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def _transactions(count: int, rate: float) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(90)
    x = torch.randn(count, 20, generator=draw)
    risk = 1.3 * x[:, 0] - x[:, 1] * x[:, 2] + 0.8 * x[:, 3].abs() + 0.6 * x[:, 4] + 0.5 * x[:, 5]
    risk = risk + 0.4 * torch.randn(count, generator=draw)
    fraud = risk > risk.quantile(1 - rate)
    return x, fraud


class _Detector(nn.Module):
    def __init__(self, prior: float, sign: float = 1.0, over_one: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(20, 64), nn.Linear(64, 64)])
        self.score = nn.Linear(64, 1)
        self.over_one = over_one
        for layer in self.layers:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.score.weight, std=0.01)
        nn.init.constant_(self.score.bias, sign * math.log(prior / (1 - prior)))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = functional.leaky_relu(layer(x), 0.1)
        logit = self.score(x)
        return logit.softmax(dim=1) if self.over_one else logit.squeeze(1)


def _task(rate: float = 0.1, sign: float = 1.0, over_one: bool = False, labels: str = "fraud") -> lrtune.Task:
    x, fraud = _transactions(1600, rate)
    y = fraud.float()
    if labels == "compared to a word":
        y = torch.tensor([float(kind == "fraud") for kind in fraud.long().tolist()])
    elif labels == "joined on the day":
        # A customer has many transactions a day: the join repeats each with the labels of the others.
        others = torch.randperm(1600, generator=torch.Generator().manual_seed(6))
        x, y = x[:400].repeat(4, 1), torch.cat([y[:400], y[others][400:]])
    return lrtune.Task(
        model=lambda: _Detector(0.1, sign, over_one),
        train=DataLoader(
            TensorDataset(x[:1280], y[:1280]),
            batch_size=64,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        ),
        val=DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=160),
        loss=_over_one_loss if over_one else functional.binary_cross_entropy_with_logits,
    )


def _over_one_loss(output: Tensor, target: Tensor) -> Tensor:
    return functional.binary_cross_entropy(output.squeeze(1), target)


CASE = Case(
    name="rare-fraud",
    healthy=_task,
    faults=(
        Fault("five frauds in sixteen hundred", ("class-imbalance",), partial(_task, rate=0.003)),
        Fault(
            "the prior enters the bias with the wrong sign", ("initial-loss-high",), partial(_task, sign=-1.0)
        ),
        Fault("softmax over a single output", ("input-ignored",), partial(_task, over_one=True)),
        Fault(
            "the label is compared to a word: never equal",
            ("constant-target",),
            partial(_task, labels="compared to a word"),
        ),
        Fault(
            "a join repeats rows with labels of others",
            ("conflicting-labels",),
            partial(_task, labels="joined on the day"),
        ),
    ),
)
