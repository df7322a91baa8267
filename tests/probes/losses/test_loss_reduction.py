from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.loss import loss_not_mean
from lrtune.probes.losses.loss_reduction import loss_reduction
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init


class Encoder(nn.Module):
    """Unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[batch, 16]`."""
        return F.normalize(self.net(x), dim=1)


def info_nce(a: Tensor, b: Tensor, reduction: str) -> Tensor:
    """Each finds its partner, in both directions."""
    scores, partner = a @ b.T / 0.2, torch.arange(len(a))
    both = (F.cross_entropy(one, partner, reduction=reduction) for one in (scores, scores.T))
    return sum(both, torch.zeros(())) / 2


def nt_xent(a: Tensor, b: Tensor, reduction: str) -> Tensor:
    """Each finds its partner among all others of both views."""
    z, count = torch.cat([a, b]), len(a)
    scores = (z @ z.T / 0.5).masked_fill(torch.eye(2 * count, dtype=torch.bool), -1e9)
    return F.cross_entropy(scores, torch.arange(2 * count).roll(count), reduction=reduction)


def triplets(a: Tensor, b: Tensor, reduction: str) -> Tensor:
    """The nearest of the others is farther away than the partner."""
    distance = torch.cdist(a, b) + 9 * torch.eye(len(a))
    return (0.5 + (a - b).norm(dim=1) - distance.amin(1)).relu().mean()


def task(loss: Any, reduction: str) -> lrtune.Task:
    """Two noisy views of each example."""
    x = torch.randn(256, 8, generator=generator(0))
    views = [x + 0.3 * torch.randn(x.shape, generator=generator(i)) for i in (1, 2)]

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return loss(model(batch[0]), model(batch[1]), reduction)

    return lrtune.Task(model=Encoder, train=TensorDataset(*views), step=functools.partial(step))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("loss", [info_nce, nt_xent])
def test_contrastive_losses(loss: Any, seed: int) -> None:
    """A sum over a batch whose examples are compared is told, a mean is not."""
    assert "loss-not-mean" in codes(check_init(context_of(task(loss, "sum"), seed=seed)))
    assert "loss-not-mean" not in codes(check_init(context_of(task(loss, "mean"), seed=seed)))


@pytest.mark.parametrize("seed", range(3))
def test_other_losses_over_pairs(seed: int) -> None:
    """What grows with the batch in another way is no sum of means."""
    assert "loss-not-mean" not in codes(check_init(context_of(task(triplets, "mean"), seed=seed)))


def siglip(a: Tensor, b: Tensor, reduction: str, bias: float = 0.0) -> Tensor:
    """Is each pair of the batch one? Divided by the examples, as in the paper, or by the pairs."""
    signs = 2 * torch.eye(len(a)) - 1
    losses = -F.logsigmoid(signs * (5 * a @ b.T + bias))
    return losses.mean() if reduction == "pairs" else losses.sum() / len(a)


def judged(task: lrtune.Task, seed: int) -> bool:
    """Whether the loss is told to be no mean."""
    context = context_of(task)
    seen = loss_reduction(Sample(context.program, context.data.train, context.data.train.head(1, seed), seed))
    assert seen is not None
    return loss_not_mean(seen) is not None


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("reduction", ["examples", "pairs"])
@pytest.mark.parametrize("bias", [0.0, -10.0])
def test_means_over_pairs(seed: int, reduction: str, bias: float) -> None:
    """A mean that grows or shrinks with the batch because copies are new pairs is no sum."""
    assert not judged(task(functools.partial(siglip, bias=bias), reduction), seed)


def test_sums_beside_a_product_of_pairs() -> None:
    """A sum over the examples is told, though the program multiplies them with each other, too."""

    def loss(a: Tensor, b: Tensor, reduction: str) -> Tensor:
        products = (a @ b.T).detach()
        return (1 - F.cosine_similarity(a, b)).sum() + 0 * products.sum()

    assert judged(task(loss, "sum"), 0)
