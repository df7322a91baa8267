"""A new head for the digits 5 to 9 on a frozen backbone that was trained on the digits 0 to 4."""

from __future__ import annotations

import contextlib
import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def load_digits(high: bool) -> tuple[Tensor, Tensor]:
    """Load the images `[images, 1, 8, 8]`, from 0 to 16, of the digits 5 to 9 or 0 to 4, and the digits."""
    data = sklearn.datasets.load_digits()
    images, digits = torch.from_numpy(data.images).float().unsqueeze(1), torch.from_numpy(data.target).long()
    chosen = (digits >= 5) == high
    images, digits = images[chosen], digits[chosen]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(1212))
    return images[order], digits[order]


def standardise(images: Tensor) -> Tensor:
    """Bring pixels to about mean 0 and deviation 1, as the backbone knows them."""
    return (images - 4.9) / 6.0


def build_backbone() -> nn.Sequential:
    """Build an untrained backbone that maps images `[batch, 1, 8, 8]` to features `[batch, 128]`."""
    return nn.Sequential(
        nn.Conv2d(1, 24, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(24, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
    )


@functools.cache
def trained_weights() -> dict[str, Tensor]:
    """Train the backbone on the digits 0 to 4, under a seed of its own."""
    images, digits = load_digits(high=False)
    images = standardise(images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1213)
        backbone, head = build_backbone(), nn.Linear(128, 5)
        optimizer = torch.optim.Adam([*backbone.parameters(), *head.parameters()], lr=2e-3)
        for _ in range(6):
            for rows in torch.randperm(len(images)).split(64):
                optimizer.zero_grad()
                nn.functional.cross_entropy(head(backbone(images[rows])), digits[rows]).backward()
                optimizer.step()
    return {name: weight.detach().clone() for name, weight in backbone.state_dict().items()}


class TransferModel(nn.Module):
    """A frozen backbone and a head.

    Args:
        whole_model: Freezes the head, too.
        no_grad: Runs the head under `no_grad`, too.
    """

    def __init__(self, whole_model: bool, no_grad: bool) -> None:
        super().__init__()
        self.no_grad = no_grad
        self.backbone = build_backbone()
        self.backbone.load_state_dict(trained_weights())
        self.head = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 5))
        nn.init.normal_(self.head[-1].weight, std=0.02)
        for parameter in (self if whole_model else self.backbone).parameters():
            parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to logits `[batch, 5]`."""
        with torch.no_grad() if self.no_grad else contextlib.nullcontext():
            return self.head(self.backbone(images))


def make_task(
    by_255: bool = False,
    own_numbers: bool = False,
    in_order: bool = False,
    backbone_only: bool = False,
    whole_model: bool = False,
    no_grad: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        by_255: Whether pixels, which go to 16, are divided by 255 instead of standardised.
        own_numbers: Whether labels are 5 to 9 instead of 0 to 4.
        in_order: Whether the images are sorted by digit and not shuffled.
        backbone_only: Whether the optimizer gets the backbone's parameters instead of the head's.
        whole_model: Whether the head is frozen, too.
        no_grad: Whether the head is run without gradients, too.
    """
    images, digits = load_digits(high=True)
    images = images / 255 if by_255 else standardise(images)
    labels = digits if own_numbers else digits - 5
    train, val = torch.arange(700), torch.arange(700, len(images))
    if in_order:
        train = digits[train].argsort(stable=True)

    def configure(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
        """Build AdamW for the part that is trained."""
        part = model.backbone if backbone_only else model.head
        return torch.optim.AdamW(part.parameters(), lr=learning_rate, weight_decay=weight_decay)

    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: TransferModel(whole_model, no_grad),
        train=DataLoader(
            TensorDataset(images[train], labels[train]), 50, shuffle=not in_order, generator=generator
        ),
        val=DataLoader(TensorDataset(images[val], labels[val]), 50),
        loss=nn.CrossEntropyLoss(),
        optimizer=configure,
        pretrained=True,
    )


CASE = Case(
    name="digits-frozen-backbone",
    healthy=make_task,
    faults=(
        Fault(
            "labels 5 to 9 for a head of five classes",
            ("target-out-of-range",),
            functools.partial(make_task, own_numbers=True),
        ),
        Fault(
            "the head frozen with the backbone",
            ("frozen-model",),
            functools.partial(make_task, whole_model=True),
        ),
        Fault(
            "the frozen backbone's parameters given to the optimizer instead of the head's",
            ("parameter-not-in-optimizer", "optimizer-does-not-step"),
            functools.partial(make_task, backbone_only=True),
        ),
        Fault(
            "the head under no_grad, too",
            ("detached-loss",),
            functools.partial(make_task, no_grad=True),
        ),
        Fault(
            "pixels that go to 16 divided by 255, for a backbone that was trained on standardised ones",
            ("input-not-normalised",),
            functools.partial(make_task, by_255=True),
        ),
        Fault(
            "images sorted by digit, loader without shuffle",
            ("unshuffled-batches",),
            functools.partial(make_task, in_order=True),
        ),
    ),
)
