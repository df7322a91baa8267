from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.behaviour import divided_over_batch
from lrtune.probes.losses.batch_lengths import BatchLengths, batch_lengths
from lrtune.probes.sample import Sample

if TYPE_CHECKING:
    from collections.abc import Callable

    Loss = Callable[[Tensor, Tensor], Tensor]

VIEWS = TensorDataset(*torch.randn(2, 48, 6, generator=generator(0)))


def measured(loss: Loss, seed: int = 0, model: Any = None) -> BatchLengths | None:
    """What the probe says of a step that gives two views' projections `[batch, 8]` to a loss."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        return loss(model(batch[0]), model(batch[1]))

    task = lrtune.Task(model=model or (lambda: mlp(6, 8)), train=VIEWS, step=step)
    context = context_of(task, seed=seed)
    return batch_lengths(Sample(context.program, context.data.train, context.data.train.head(2, seed), seed))


def info_nce(dimension: int, by_hand: bool = False, guarded: bool = False) -> Loss:
    """Contrast two views."""

    def unit(vectors: Tensor) -> Tensor:
        if not by_hand:
            return F.normalize(vectors, dim=dimension)
        length = vectors.norm(dim=dimension, keepdim=True)
        return vectors / (length + 1e-6 if guarded else length.clamp(min=1e-6))

    return lambda one, two: F.cross_entropy(unit(one) @ unit(two).T / 0.2, torch.arange(len(one)))


def nt_xent(dimension: int) -> Loss:
    """Contrast all views with all."""

    def loss(one: Tensor, two: Tensor) -> Tensor:
        both = F.normalize(torch.cat([one, two]), p=2.0, dim=dimension)
        alike = torch.mm(both, both.t()) / 0.2
        alike = alike.masked_fill(torch.eye(len(both), dtype=torch.bool), -1e9)
        return F.cross_entropy(alike, torch.arange(len(both)).roll(len(one)))

    return loss


def byol(dimension: int) -> Loss:
    """Attract the halves of pairs."""

    def loss(one: Tensor, two: Tensor) -> Tensor:
        return 2 - 2 * (F.normalize(one, dim=dimension) * F.normalize(two, dim=dimension)).sum(dim=-1).mean()

    return loss


def cut(dimension: int) -> Loss:
    """Normalise both views in one, then cut them apart."""

    def loss(one: Tensor, two: Tensor) -> Tensor:
        first, second = F.normalize(torch.cat([one, two]), dim=dimension).chunk(2)
        return F.cross_entropy(-torch.cdist(first, second), torch.arange(len(first)))

    return loss


def barlow(by_hand: bool) -> Loss:
    """Make the columns of two views correlate, over the batch, each with its own only."""

    def loss(one: Tensor, two: Tensor) -> Tensor:
        one, two = one - one.mean(0), two - two.mean(0)
        if by_hand:
            return ((one / one.norm(dim=0)).T @ (two / two.norm(dim=0)) - torch.eye(8)).square().sum()
        correlation = F.normalize(one, dim=0).T @ F.normalize(two, dim=0)
        return (correlation - torch.eye(8)).square().sum()

    return loss


def columns(one: Tensor, two: Tensor) -> Tensor:
    """Correlate each column with the other view's, over the batch."""
    return 1 - (F.normalize(one, dim=0) * F.normalize(two, dim=0)).sum(dim=0).mean()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("loss", "wrong"),
    [
        (info_nce(0), True),
        (info_nce(1), False),
        (info_nce(0, by_hand=True), True),
        (info_nce(0, by_hand=True, guarded=True), True),
        (info_nce(1, by_hand=True), False),
        (info_nce(-2), True),
        (info_nce(-1), False),
        (nt_xent(0), True),
        (nt_xent(1), False),
        (byol(0), True),
        (byol(1), False),
        (cut(0), True),
        (cut(1), False),
        (barlow(by_hand=False), False),
        (barlow(by_hand=True), False),
        (columns, False),
    ],
)
def test_losses_of_two_views(loss: Loss, wrong: bool, seed: int) -> None:
    """Rows compared after columns were brought to length 1 are told; correlations of columns are meant."""
    seen = measured(loss, seed)
    assert (seen is not None) == wrong
    if seen is not None:
        assert seen.line.startswith("test_batch_lengths.py:")
        assert divided_over_batch(seen).code == "batch-mixing"


def test_prototypes() -> None:
    """A table of unit columns beside unit rows is a layer's weight and no batch."""

    class Cosine(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.table = mlp(6, 8), nn.Parameter(torch.randn(8, 7))

        def forward(self, inputs: Tensor) -> Tensor:
            return F.normalize(self.net(inputs), dim=1) @ F.normalize(self.table, dim=0)

    assert measured(lambda one, two: (one - two).square().mean(), model=Cosine) is None
