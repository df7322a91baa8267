"""Digits with a residual network: group norm, zero-initialised branches, label smoothing, SGD of its own."""

from __future__ import annotations

from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def load_digits(one_based: bool = False, as_float: bool = False, rare: int | None = None) -> TensorDataset:
    """Read the digits; of all classes but 0, keep only `rare` each if it is given."""
    pixels, digits = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(31))[:1500]
    if rare is not None:
        digit = digits[order]
        position = torch.stack([(digit == k).cumsum(0) for k in range(10)])[digit, torch.arange(len(digit))]
        order = order[(digit == 0) | (position <= rare)]
    images = ((pixels - pixels.mean()) / pixels.std()).float()[order].reshape(-1, 1, 8, 8)
    digits = digits[order]
    if one_based:
        digits = digits + 1
    return TensorDataset(images, digits.float() if as_float else digits)


class Block(nn.Module):
    """Adds a branch of two convolutions."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1 = nn.GroupNorm(4, width) if norm else nn.Identity()
        self.norm2 = nn.GroupNorm(4, width) if norm else nn.Identity()
        if norm:
            nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum of the input and the branch."""
        branch = self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))
        return torch.relu(x + branch)


class ResNet(nn.Module):
    """A stem, three blocks and a linear head."""

    def __init__(self, width: int = 16, bug: str = "") -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        blocks = [Block(width, norm=bug != "wide init") for _ in range(3)]
        self.blocks = blocks if bug == "plain list" else nn.ModuleList(blocks)
        self.head = nn.Linear(width * 4, 10)
        if bug == "wide init":
            for p in self.parameters():
                nn.init.normal_(p)
        if bug == "constant init":
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear):
                    nn.init.constant_(module.weight, 0.01)
                    nn.init.zeros_(module.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, 1, 8, 8]` to logits `[batch, 10]`."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


def smoothed(output: Tensor, target: Tensor, reduction: str = "mean", again: bool = False) -> Tensor:
    """Return the cross-entropy against softened labels."""
    loss = nn.functional.cross_entropy(output, target, label_smoothing=0.05, reduction=reduction)
    return loss / len(target) if again else loss


def make_optimizer(model: nn.Module, lr: float, weight_decay: float, warmup: bool = False) -> torch.optim.SGD:
    """Build SGD with Nesterov momentum."""
    optimizer = torch.optim.SGD(
        model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay
    )
    if warmup:
        # The loop that should have called the scheduler's step() is not there any more.
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 200))
    return optimizer


def make_task(
    bug: str = "",
    reduction: str = "mean",
    again: bool = False,
    warmup: bool = False,
    **data: int,
) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: ResNet(bug=bug),
        train=load_digits(**data),
        loss=partial(smoothed, reduction=reduction, again=again),
        optimizer=partial(make_optimizer, warmup=warmup),
    )


CASE = Case(
    name="residual digits",
    healthy=make_task,
    faults=(
        Fault("labels from 1 to 10", ("target-out-of-range",), lambda: make_task(one_based=True)),
        Fault("labels as floats", ("target-dtype",), lambda: make_task(as_float=True)),
        Fault("one of each rare class", ("class-imbalance",), lambda: make_task(rare=1)),
        Fault("summed loss", ("loss-not-mean",), lambda: make_task(reduction="sum")),
        Fault("loss divided by the batch twice", ("loss-not-mean",), lambda: make_task(again=True)),
        Fault("blocks in a list", ("unregistered-parameter",), lambda: make_task("plain list")),
        Fault("constant weights", ("symmetric-init",), lambda: make_task("constant init")),
        Fault(
            "standard normal weights, no norm",
            ("exploding-gradient", "initial-loss-high"),
            lambda: make_task("wide init"),
        ),
        Fault("warm-up never advances", ("optimizer-does-not-step",), lambda: make_task(warmup=True)),
    ),
    config={"batch_size": 48},
)
