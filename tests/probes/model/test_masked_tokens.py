from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.probes.model.masked_tokens import MaskedTokens, masked_tokens, padding_of
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

if TYPE_CHECKING:
    from collections.abc import Callable

TIME = 8
TEXT = torch.randint(1, 9, (96, TIME), generator=generator(0))
LENGTHS = 3 + torch.arange(96) % 5  # 3 to 7
PADDED = TEXT.masked_fill(torch.arange(TIME) >= LENGTHS[:, None], 0)
LABELS = torch.arange(96) % 3


class Bag(nn.Module):
    """A masked mean of embedded tokens.

    Args:
        inverted: Whether the mask keeps the padding.
        padding: The token that the program takes for padding.
    """

    def __init__(self, inverted: bool, padding: int = 0) -> None:
        super().__init__()
        self.inverted, self.padding = inverted, padding
        self.tokens, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        mask = ((tokens == self.padding) if self.inverted else (tokens != self.padding)).float().unsqueeze(2)
        return self.head((self.tokens(tokens) * mask).sum(1) / mask.sum(1).clamp(min=1))


class Attention(nn.Module):
    """A query that looks at the encoded tokens."""

    def __init__(self, inverted: bool) -> None:
        super().__init__()
        self.inverted = inverted
        self.tokens, self.head = nn.Embedding(9, 8, padding_idx=0), nn.Linear(8, 3)
        self.places = nn.Parameter(torch.randn(TIME, 8))
        self.query = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, dropout=0.1, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        encoded = self.tokens(tokens) + self.places
        mask = (tokens != 0) if self.inverted else (tokens == 0)
        query = self.query.expand(len(tokens), 1, 8)
        return self.head(self.attention(query, encoded, encoded, key_padding_mask=mask)[0].squeeze(1))


class Recurrent(nn.Module):
    """The last state after all positions, padding among them."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.layer, self.head = (
            nn.Embedding(9, 8),
            nn.GRU(8, 8, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.layer(self.tokens(tokens))[0][:, -1])


class First(nn.Module):
    """Reads the first token alone, as a class token would be."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.tokens(tokens)[:, 0])


def task_of(model: Callable[[], nn.Module], tokens: Tensor = PADDED) -> lrtune.Task:
    """Sentences with a label."""
    return lrtune.Task(model=model, train=TensorDataset(tokens, LABELS), loss=F.cross_entropy)


def measured(task: lrtune.Task, seed: int = 0) -> MaskedTokens | None:
    """What the probe says."""
    context = context_of(task, seed=seed)
    train = context.data.train
    return masked_tokens(Sample(context.program, train, train.head(2, seed), seed))


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("model", [Bag, Attention])
@pytest.mark.parametrize("inverted", [False, True])
def test_masks_the_wrong_way_round(model: Any, inverted: bool, seed: int) -> None:
    """The embedding is named, and the padding that it reads."""
    seen = measured(task_of(lambda: model(inverted)), seed)
    assert (seen is not None) == inverted
    assert seen is None or (seen.embedding, seen.token) == ("tokens", 0)
    result = check_init(context_of(task_of(lambda: model(inverted)), seed=seed))
    assert ("input-ignored" in codes(result)) == inverted


def test_another_padding() -> None:
    """The token that fills the rows need not be 0."""
    seen = measured(
        task_of(lambda: Bag(True, padding=8), TEXT.clamp(max=7).where(PADDED > 0, torch.tensor(8)))
    )
    assert seen is not None
    assert seen.token == 8


@pytest.mark.parametrize("model", [Recurrent, First])
def test_programs_that_read_tokens(model: Callable[[], nn.Module]) -> None:
    """Padding may count, or only one of the tokens may."""
    assert measured(task_of(model)) is None


def test_sentences_without_padding() -> None:
    """Nothing is told of sentences of one length, whatever the mask."""
    assert measured(task_of(lambda: Bag(False), TEXT)) is None
    assert padding_of(TEXT) is None


@pytest.mark.parametrize(
    "rows",
    [
        [[1, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0]],
        [[1, 0, 2, 0], [2, 3, 0, 0], [3, 0, 0, 0], [4, 1, 2, 0]],
        [[0, 0, 0, 0], [2, 3, 0, 0], [3, 0, 0, 0], [4, 1, 2, 0]],
    ],
    ids=["one length", "also in between", "a row of nothing else"],
)
def test_what_is_no_padding(rows: list[list[int]]) -> None:
    """A token that may mean something."""
    assert padding_of(torch.tensor(rows)) is None


def test_gradients_are_left_as_found() -> None:
    """The shared model has none afterwards."""
    context = context_of(task_of(lambda: Bag(True)))
    sample = Sample(context.program, context.data.train, context.data.train.head(2, 0), 0)
    assert masked_tokens(sample) is not None
    assert all(parameter.grad is None for parameter in sample.awake.parameters())
