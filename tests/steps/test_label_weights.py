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
from lrtune.steps.check_init import check_init

X = torch.randn(1000, 10, generator=generator(0))
TAGS = (torch.rand(1000, 4, generator=generator(1)) < torch.tensor([0.5, 0.3, 0.1, 0.05])).float()
ODDS = (1 - TAGS.mean(0)) / TAGS.mean(0)
MASK = (torch.rand(1000, 4, generator=generator(2)) < 0.7).float()
LENGTHS = torch.randint(3, 13, (400, 1), generator=generator(3))
TEXT = torch.where(torch.arange(13) < LENGTHS, torch.randint(1, 20, (400, 13), generator=generator(4)), 0)


def perceptron() -> nn.Module:
    """Four scores."""
    return nn.Sequential(nn.Linear(10, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))


class Words(nn.Module):
    """A recurrent language model."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.net, self.head = (
            nn.Embedding(20, 16),
            nn.GRU(16, 16, batch_first=True),
            nn.Linear(16, 20),
        )

    def forward(self, text: Tensor) -> Tensor:
        """Return logits of the next words."""
        return self.head(self.net(self.embed(text))[0])


def tagging(pos_weight: Tensor) -> lrtune.Task:
    """Tags of different frequency."""
    return lrtune.Task(
        model=perceptron, train=TensorDataset(X, TAGS), loss=nn.BCEWithLogitsLoss(pos_weight=pos_weight)
    )


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("pos_weight", "told"),
    [
        pytest.param(ODDS, False, id="right"),
        pytest.param(ODDS.sqrt(), False, id="roots"),
        pytest.param(torch.ones(4), False, id="none"),
        pytest.param(1 / ODDS, True, id="inverted"),
        pytest.param(ODDS.flip(0), True, id="in another order"),
    ],
)
def test_weights_of_tags(pos_weight: Tensor, told: bool, seed: int) -> None:
    """Weights that do not fit the tags' counts are told."""
    assert ("class-imbalance" in codes(check_init(context_of(tagging(pos_weight), seed=seed)))) == told


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("all_in_mean", [False, True])
def test_masked_answers(all_in_mean: bool, seed: int) -> None:
    """A mean of answers over what their mask leaves out is told, a mean over the others is not."""

    def step(model: nn.Module, batch: list[Tensor]) -> dict[str, Any]:
        output = model(batch[0])
        losses = F.binary_cross_entropy_with_logits(output, batch[1], reduction="none") * batch[2]
        loss = losses.mean() if all_in_mean else losses.sum() / batch[2].sum()
        return {"loss": loss, "output": output, "target": batch[1]}

    found = check_init(
        context_of(lrtune.Task(model=perceptron, train=TensorDataset(X, TAGS, MASK), step=step), seed=seed)
    )
    assert ("loss-not-mean" in codes(found)) == all_in_mean


def next_word(model: nn.Module, batch: dict[str, Tensor], ignored: int) -> dict[str, Any]:
    """Score the next words."""
    output, target = model(batch["text"][:, :-1]), batch["text"][:, 1:]
    loss = F.cross_entropy(output.flatten(0, 1), target.flatten(), ignore_index=ignored)
    return {"loss": loss, "output": output, "target": target}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("ignored", [-100, 0])
def test_padding_of_a_language_model(ignored: int, seed: int) -> None:
    """Padding that is learnt like words is told."""
    batches = [{"text": part} for part in TEXT.split(40)]
    task = lrtune.Task(model=Words, train=batches, step=functools.partial(next_word, ignored=ignored))
    assert ("class-imbalance" in codes(check_init(context_of(task, seed=seed)))) == (ignored != 0)
