from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from programs import context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.partners import finds_itself, one_vector
from lrtune.probes.losses.partners import measured, partners
from lrtune.probes.sample import Sample


def test_known_scores() -> None:
    """Where each row's largest score stands is told: at itself, at its partner with one number for all, or neither."""
    partner = torch.arange(8).roll(4)
    drawn = 0.5 * torch.rand(8, 8, generator=generator(0))
    itself = drawn + torch.eye(8)
    assert measured(itself, partner).finds_itself
    assert not measured(itself, partner).one_vector
    one = drawn.clone()
    one[torch.arange(8), partner] = 1.0
    seen = measured(one, partner)
    assert (seen.finds_itself, seen.one_vector, seen.score) == (False, True, 1.0)
    views = one - 0.2 * torch.rand(8, 8, generator=generator(1))
    assert not measured(views, partner).one_vector


def test_scores_that_are_all_alike_tell_nothing() -> None:
    """A model whose outputs are one vector for all examples gives equal scores everywhere."""
    seen = measured(torch.ones(8, 8), torch.arange(8).roll(4))
    assert finds_itself(seen) is None
    assert one_vector(seen) is None


class Encoder(nn.Module):
    """Unit vectors."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 16))

    def forward(self, x: Tensor) -> Tensor:
        """Return `[batch, 16]`."""
        return F.normalize(self.net(x), dim=1)


def info_nce(a: Tensor, b: Tensor) -> Tensor:
    """Each finds its partner, in both directions."""
    scores, partner = a @ b.T / 0.2, torch.arange(len(a))
    return (F.cross_entropy(scores, partner) + F.cross_entropy(scores.T, partner)) / 2


def nt_xent(a: Tensor, b: Tensor, masked: bool) -> Tensor:
    """Each finds its partner among all others of both views."""
    z, count = torch.cat([a, b]), len(a)
    scores = z @ z.T / 0.2
    if masked:
        scores = scores.masked_fill(torch.eye(2 * count, dtype=torch.bool), -torch.inf)
    return F.cross_entropy(scores, torch.arange(2 * count).roll(count))


def task(loss: Any, noise: float, called: int = 2) -> lrtune.Task:
    """Two views of each example; `called` is how many of them are encoded."""
    x = torch.randn(256, 8, generator=generator(0))
    views = [x + noise * torch.randn(x.shape, generator=generator(i)) for i in (1, 2)]

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        first = model(batch[0])
        return loss(first, model(batch[1]) if called == 2 else first)

    return lrtune.Task(model=Encoder, train=TensorDataset(*views), step=step)


MASKED, UNMASKED = (functools.partial(nt_xent, masked=masked) for masked in (True, False))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    ("loss", "noise", "called", "wanted"),
    [
        pytest.param(info_nce, 0.3, 2, set(), id="InfoNCE"),
        pytest.param(MASKED, 0.3, 2, set(), id="NT-Xent"),
        pytest.param(info_nce, 0.0, 2, set(), id="dropout alone makes the views"),
        pytest.param(info_nce, 0.3, 1, {"target-leak"}, id="one encoding for both"),
        pytest.param(MASKED, 0.3, 1, {"target-leak"}, id="one encoding for both, masked"),
        pytest.param(UNMASKED, 0.3, 2, {"cannot-overfit"}, id="the diagonal is not masked"),
    ],
)
def test_programs(loss: Any, noise: float, called: int, wanted: set[str], seed: int) -> None:
    """Sound contrastive programs are silent, SimCSE's among them; a vector compared with itself is named."""
    context = context_of(task(loss, noise, called))
    seen = partners(Sample(context.program, context.data.train, context.data.train.head(1, seed), seed))
    assert seen is not None
    assert {found.code for check in (finds_itself, one_vector) if (found := check(seen))} == wanted
