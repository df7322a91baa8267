"""A residual network whose branches start at zero, with label smoothing and an optimizer of its own."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_digits() -> tuple[TensorDataset, TensorDataset]:
    """Load the digits as standardised images `[1, 8, 8]` and classes."""
    pixels, labels = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    images = ((pixels - pixels.mean()) / pixels.std()).float().unflatten(1, (1, 8, 8))[order]
    labels = labels[order]
    return TensorDataset(images[:1400], labels[:1400]), TensorDataset(images[1400:], labels[1400:])


class Block(nn.Module):
    """Two convolutions, added to their input.

    Args:
        width: Channels.
        skip: Whether the input is added.
    """

    def __init__(self, width: int, skip: bool) -> None:
        super().__init__()
        self.skip = skip
        self.first = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1, bias=False)
        self.first_norm, self.second_norm = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        for convolution in (self.first, self.second):
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        nn.init.zeros_(self.second_norm.weight)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, width, 4, 4]` to features of the same shape."""
        hidden = self.first_norm(self.first(features)).relu()
        hidden = self.second_norm(self.second(hidden))
        return (features + hidden if self.skip else hidden).relu()


class ResNet(nn.Module):
    """A stem, residual blocks, dropout and a linear layer.

    Args:
        skip: As in `Block`.
        dropout: Share of the features that is dropped in training.
        always_dropping: Whether they are dropped in evaluation, too.
    """

    def __init__(
        self,
        skip: bool = True,
        dropout: float = 0.1,
        always_dropping: bool = False,
    ) -> None:
        super().__init__()
        self.dropout, self.always_dropping = dropout, always_dropping
        self.stem = nn.Sequential(nn.Conv2d(1, 12, kernel_size=3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.blocks = nn.Sequential(*(Block(12, skip) for _ in range(3)))
        self.head = nn.Linear(12 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to logits `[batch, 10]`."""
        features = self.blocks(self.stem(images)).flatten(1)
        dropping = self.training or self.always_dropping
        return self.head(nn.functional.dropout(features, self.dropout, dropping))


def make_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    only_matrices: bool = False,
    warmup: bool = False,
) -> torch.optim.Optimizer:
    """Build an SGD that decays the weights, and neither biases nor normalisations.

    Args:
        model: Whose parameters are trained.
        learning_rate: Of all parameters.
        weight_decay: Of the weights.
        only_matrices: Forgets the second group.
        warmup: Ties a warm-up to the optimizer, which multiplies the rate by 0 before its first step.
    """
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}]
    if not only_matrices:
        groups.append({"params": others, "weight_decay": 0.0})
    optimizer = torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)
    if warmup:
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    return optimizer


def make_task(
    only_matrices: bool = False, warmup: bool = False, reduction: str = "mean", **network: bool | float
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = load_digits()
    return lrtune.Task(
        model=lambda: ResNet(**network),
        train=train,
        val=val,
        loss=nn.CrossEntropyLoss(label_smoothing=0.1, reduction=reduction),
        optimizer=functools.partial(make_optimizer, only_matrices=only_matrices, warmup=warmup),
    )


CASE = Case(
    name="digits-resnet",
    healthy=make_task,
    faults=(
        Fault(
            "the group without decay is not handed over",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, only_matrices=True),
        ),
        Fault(
            "a warm-up that nobody steps holds the rate at zero",
            ("optimizer-does-not-step",),
            functools.partial(make_task, warmup=True),
        ),
        Fault(
            "the loss is a sum over the batch",
            ("loss-not-mean",),
            functools.partial(make_task, reduction="sum"),
        ),
        Fault(
            "dropout also in evaluation",
            ("nondeterministic-model",),
            functools.partial(make_task, always_dropping=True),
        ),
        Fault(
            "share to keep given as the share to drop",
            ("train-eval-gap",),
            functools.partial(make_task, dropout=0.9),
        ),
        Fault(
            "branches that start at zero, and no skip around them",
            ("input-ignored", "vanishing-gradient"),
            functools.partial(make_task, skip=False),
        ),
    ),
    config={"batch_size": 32},
)
