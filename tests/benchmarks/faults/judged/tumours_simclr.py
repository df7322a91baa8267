"""A contrastive model of tumours' measurements: two views of a tumour, each with some columns disturbed, attract."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

TEMPERATURE = 0.1


def load_tumours() -> Tensor:
    """Load 569 tumours with 30 standardised measurements each, in a drawn order."""
    inputs = torch.from_numpy(sklearn.datasets.load_breast_cancer().data)
    inputs = inputs[torch.randperm(len(inputs), generator=torch.Generator().manual_seed(1111))]
    return ((inputs - inputs.mean(dim=0)) / inputs.std(dim=0)).float()


class Views(Dataset[tuple[Tensor, Tensor]]):
    """Two views of each tumour, in which a fifth of the columns come from other tumours.

    Args:
        tumours: Standardised measurements.
        same: Returns one view twice.
    """

    def __init__(self, tumours: Tensor, same: bool) -> None:
        self.tumours, self.same = tumours, same
        generator = torch.Generator().manual_seed(1112)
        self.views = []
        for _ in range(2):
            donors = torch.randint(len(tumours), tumours.shape, generator=generator)
            disturbed = torch.rand(tumours.shape, generator=generator) < 0.2
            self.views.append(torch.where(disturbed, tumours.gather(0, donors), tumours))

    def __len__(self) -> int:
        return len(self.tumours)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        first, second = self.views
        return first[index], first[index] if self.same else second[index]


class Encoder(nn.Module):
    """A perceptron and a projection of its features.

    Args:
        detached: Cuts the projection's gradient off from the features.
    """

    def __init__(self, detached: bool) -> None:
        super().__init__()
        self.detached = detached
        self.backbone = nn.Sequential(nn.Linear(30, 96), nn.ReLU(), nn.Linear(96, 64), nn.ReLU())
        self.projection = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, tumours: Tensor) -> Tensor:
        """Map measurements `[batch, 30]` to projections `[batch, 32]`."""
        features = self.backbone(tumours)
        return self.projection(features.detach() if self.detached else features)


class ContrastiveLoss(nn.Module):
    """The cross-entropy of finding a view's other half among all views of a batch.

    Args:
        axis: That projections are brought to length 1 along.
        euclidean: Compares by negative distance instead of cosine.
        masked: Whether a view is kept from finding itself.
        multiplied: Multiplies by the temperature instead of dividing.
    """

    def __init__(self, axis: int, euclidean: bool, masked: bool, multiplied: bool) -> None:
        super().__init__()
        self.axis, self.euclidean, self.masked = axis, euclidean, masked
        self.scale = TEMPERATURE if multiplied else 1 / TEMPERATURE

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score the projections `[batch, 32]` of both views."""
        both = F.normalize(torch.cat([first, second]), dim=self.axis)
        if self.euclidean:
            squares = (both.unsqueeze(0) - both.unsqueeze(1)).pow(2).sum(dim=2)
            similarity = -squares.sqrt() * self.scale
        else:
            similarity = both @ both.T * self.scale
        if self.masked:
            similarity = similarity.masked_fill(torch.eye(len(both), dtype=torch.bool), -1e9)
        partners = torch.arange(len(both)).roll(len(first))
        return F.cross_entropy(similarity, partners)


def make_task(
    same: bool = False,
    detached: bool = False,
    axis: int = 1,
    euclidean: bool = False,
    masked: bool = True,
    multiplied: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        same: Whether both views are the same.
        detached: Whether the backbone gets no gradient.
        axis: That projections are normalised along.
        euclidean: Whether the similarity is the square root of a sum of squares.
        masked: Whether a view is kept from finding itself.
        multiplied: Whether similarities are multiplied by the temperature.
    """
    criterion = ContrastiveLoss(axis, euclidean, masked, multiplied)

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        """Score the two views of a batch."""
        first, second = batch
        return criterion(model(first), model(second))

    return lrtune.Task(
        model=lambda: Encoder(detached),
        train=DataLoader(
            Views(load_tumours(), same),
            64,
            shuffle=True,
            drop_last=True,
            generator=torch.Generator().manual_seed(0),
        ),
        step=step,
    )


CASE = Case(
    name="tumours-simclr",
    healthy=make_task,
    faults=(
        Fault(
            "projections normalised over the batch",
            ("batch-mixing",),
            functools.partial(make_task, axis=0),
        ),
        Fault(
            "a view's similarity to itself not masked",
            ("cannot-overfit",),
            functools.partial(make_task, masked=False),
        ),
        Fault(
            "the features detached before the projection",
            ("parameter-without-gradient",),
            functools.partial(make_task, detached=True),
        ),
        Fault(
            "the square root of a view's distance of zero to itself",
            ("nonfinite-gradient",),
            functools.partial(make_task, euclidean=True),
        ),
        Fault(
            "the same view twice",
            ("target-leak", "initial-loss-low"),
            functools.partial(make_task, same=True),
        ),
        Fault(
            "similarities multiplied by the temperature instead of divided",
            ("cannot-overfit",),
            functools.partial(make_task, multiplied=True),
        ),
    ),
)
