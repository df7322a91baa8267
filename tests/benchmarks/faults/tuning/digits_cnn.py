"""A convolutional network with batch normalisation on digits, fed by a loader that shuffles."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def load_digits(per_pixel: bool = False, counted_from: int = 0) -> tuple[TensorDataset, TensorDataset]:
    """Load the digits as images `[1, 8, 8]`, ordered by class as image folders are.

    Args:
        per_pixel: Standardises every pixel by its own deviation; the corners are never written on.
        counted_from: The label of the first class.
    """
    pixels, labels = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
    val, train = order.split([357, 1440])
    train = train[labels[train].argsort(stable=True)]
    if per_pixel:
        images = (pixels - pixels[train].mean(dim=0)) / pixels[train].std(dim=0)
    else:
        images = (pixels - pixels[train].mean()) / pixels[train].std()
    images, labels = images.float().unflatten(1, (1, 8, 8)), labels + counted_from
    return TensorDataset(images[train], labels[train]), TensorDataset(images[val], labels[val])


class Cnn(nn.Module):
    """Two convolutions, then a linear layer on pooled features.

    Args:
        momentum: Of the running averages of batch normalisation.
        channels_first: Flattens features as if channels came before the batch.
    """

    def __init__(self, momentum: float = 0.1, channels_first: bool = False) -> None:
        super().__init__()
        self.channels_first = channels_first
        self.features = nn.Sequential(
            nn.Conv2d(1, 12, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(12, momentum=momentum),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(24, momentum=momentum),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(24 * 16, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to logits `[batch, 10]`."""
        features = self.features(images)
        if self.channels_first:
            features = features.transpose(0, 1)
        return self.classifier(features.reshape(len(images), -1))


def make_frozen() -> Cnn:
    """Build the network for fine-tuning, with all layers frozen."""
    model = Cnn()
    for parameter in model.parameters():
        parameter.requires_grad = False
    return model


def make_task(
    per_pixel: bool = False,
    counted_from: int = 0,
    shuffle: bool = True,
    frozen: bool = False,
    reduction: str = "mean",
    **network: bool | float,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    train, val = load_digits(per_pixel, counted_from)
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=make_frozen if frozen else lambda: Cnn(**network),
        train=DataLoader(train, batch_size=32, shuffle=shuffle, generator=generator),
        val=DataLoader(val, batch_size=128),
        loss=nn.CrossEntropyLoss(reduction=reduction),
    )


CASE = Case(
    name="digits-cnn",
    healthy=make_task,
    faults=(
        Fault(
            "each pixel divided by its deviation, zero at the border",
            ("nonfinite-input",),
            functools.partial(make_task, per_pixel=True),
        ),
        Fault(
            "classes counted from one",
            ("target-out-of-range",),
            functools.partial(make_task, counted_from=1),
        ),
        Fault(
            "loader without shuffle over folders of classes",
            ("unshuffled-batches",),
            functools.partial(make_task, shuffle=False),
        ),
        Fault(
            "the loop that freezes the backbone freezes all",
            ("frozen-model",),
            functools.partial(make_task, frozen=True),
        ),
        Fault(
            "reduction='none' without a mean",
            ("loss-not-scalar",),
            functools.partial(make_task, reduction="none"),
        ),
        Fault(
            "features flattened with channels before the batch",
            ("batch-mixing",),
            functools.partial(make_task, channels_first=True),
        ),
        Fault(
            "batch normalisation whose running averages never move",
            ("train-eval-gap",),
            functools.partial(make_task, momentum=0.0),
        ),
    ),
)
