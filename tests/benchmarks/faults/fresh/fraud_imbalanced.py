"""Fraud among payments, one in nine: a class-weighted classifier with batch norm and PReLU."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable


def make_payments(count: int, odds: float) -> tuple[Tensor, Tensor]:
    """Draw payments `[count, 10]`, in money and seconds, and whether each is a fraud."""
    draw = torch.Generator().manual_seed(101)
    latent = torch.randn(count, 10, generator=draw)
    risk = latent[:, 0] * latent[:, 1] + latent[:, 2].abs() + 0.8 * latent[:, 3] - 0.5 * latent[:, 4] ** 2
    risk = risk + 0.15 * torch.randn(count, generator=draw)
    fraud = risk > risk.quantile(1 - 1 / (1 + odds))
    scale = torch.tensor([2.0, 1.0, 6.0, 3.0, 4.0, 0.0, 2.0, 5.0, 1.0, 3.0])
    return (0.7 * latent + scale).exp(), fraud


class FraudNet(nn.Module):
    """A perceptron; `bug` names the line that is wrong."""

    def __init__(self, outputs: int = 2, bug: str = "") -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(10, 64, bias=False),
            nn.BatchNorm1d(64),
            nn.PReLU(),
            nn.Dropout(0.1),
            nn.Linear(64, 32),
            nn.ReLU(),
        )
        self.head = nn.Linear(32, outputs)
        self.softmax = bug == "softmax"
        if bug == "dead":
            nn.init.constant_(self.body[4].bias, -5.0)

    def forward(self, payments: Tensor) -> Tensor:
        """Map payments `[batch, 10]` to scores `[batch, outputs]`."""
        scores = self.head(self.body(payments))
        return scores.softmax(dim=1) if self.softmax else scores


def focal_loss(scores: Tensor, fraud: Tensor) -> Tensor:
    """Return the focal loss of scores `[batch, 1]`."""
    p = torch.sigmoid(scores)
    right = p * fraud + (1 - p) * (1 - fraud)
    return -((1 - right) ** 2 * right.clamp(min=1e-6).log()).mean()


def log_loss(scores: Tensor, fraud: Tensor) -> Tensor:
    """Return the binary cross-entropy, by its formula, of scores that are cut off to be probabilities."""
    p = scores.squeeze(1).clamp(0, 1)
    return -(fraud * p.log() + (1 - fraud) * (1 - p).log()).mean()


def make_task(
    bug: str = "",
    odds: float = 8.0,
    scale: bool = True,
    frauds_last: bool = False,
    loss: Callable[[Tensor, Tensor], Tensor] | None = None,
    head_only: bool = False,
) -> lrtune.Task:
    """Describe the training, by default with weighted cross-entropy over two classes."""
    payments, fraud = make_payments(1620, odds)
    if frauds_last:
        order = fraud.int().argsort(stable=True)
        payments, fraud = payments[order], fraud[order]
    if scale:
        payments = payments.log()
        payments = (payments - payments.mean(dim=0)) / payments.std(dim=0)
    own = loss is not None
    weights = torch.tensor([1.0, 1.0 if odds > 100 else odds])

    def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        learnt = model.head.parameters() if head_only else model.parameters()
        return torch.optim.SGD(learnt, lr=lr, momentum=0.9, weight_decay=weight_decay)

    return lrtune.Task(
        model=lambda: FraudNet(outputs=1 if own else 2, bug=bug),
        train=DataLoader(
            TensorDataset(payments, fraud.float() if own else fraud.long()),
            batch_size=60,
            shuffle=not frauds_last,
            generator=torch.Generator().manual_seed(102),
        ),
        loss=loss or nn.CrossEntropyLoss(weights),
        optimizer=optimizer,
    )


CASE = Case(
    name="imbalanced fraud",
    healthy=make_task,
    faults=(
        Fault("one fraud in 500, not weighted", ("class-imbalance",), lambda: make_task(odds=500.0)),
        Fault("softmax before cross-entropy", ("double-softmax",), lambda: make_task("softmax")),
        Fault("frauds at the end of the table", ("unshuffled-batches",), lambda: make_task(frauds_last=True)),
        Fault(
            "focal loss of a column and a row",
            ("target-shape-mismatch", "broadcast-target"),
            lambda: make_task(loss=focal_loss),
        ),
        Fault(
            "logarithm of clamped scores",
            ("nonfinite-loss",),
            lambda: make_task(loss=log_loss),
        ),
        Fault("raw payments", ("input-not-normalised",), lambda: make_task(scale=False)),
        Fault("biases of -5 before ReLU", ("dead-units",), lambda: make_task("dead")),
        Fault(
            "head alone in the optimizer",
            ("parameter-not-in-optimizer",),
            lambda: make_task(head_only=True),
        ),
    ),
)
