from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset

import lrtune
from lrtune.checks.behaviour import batch_mixing
from lrtune.probes.model.place_in_batch import dependence, place_in_batch
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS = torch.randint(9, (96, 6), generator=generator(0))
LABELS = torch.arange(96) % 3


class Reader(nn.Module):
    """Mean of embedded tokens with positions, then logits.

    Args:
        dimension: Along which the positions run: 1 is time, 0 the batch.
    """

    def __init__(self, dimension: int = 1) -> None:
        super().__init__()
        self.dimension = dimension
        self.tokens, self.places = nn.Embedding(9, 8), nn.Embedding(128, 8)
        self.hidden, self.head = nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[batch, time]` to logits `[batch, 3]`."""
        places = self.places(torch.arange(tokens.shape[self.dimension], device=tokens.device))
        places = places if self.dimension else places[:, None]
        return self.head(self.hidden(self.tokens(tokens) + places).relu().mean(1))


class Table(nn.Module):
    """Adds a bias by the row's number, or by a column of the input."""

    def __init__(self, by_row: bool) -> None:
        super().__init__()
        self.by_row = by_row
        self.head, self.table = nn.Linear(4, 3), nn.Embedding(200, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        rows = torch.arange(len(inputs)) if self.by_row else (inputs[:, 0].abs() * 20).long().clamp(max=199)
        return self.head(inputs) + self.table(rows)


class Noisy(nn.Module):
    """Draws noise for every row, in evaluation mode too."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(inputs + torch.randn_like(inputs))


class Sorted(nn.Module):
    """Cuts sentences to the first one's length, which a sorted batch has at its head."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens, self.head = nn.Embedding(9, 8), nn.Linear(8, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        longest = int((tokens[0] > 0).sum())
        return self.head(self.tokens(tokens[:, :longest]).mean(1))


def placed_by(task: lrtune.Task) -> Any:
    """What another order shows."""
    context = context_of(task)
    train = context.data.train
    return place_in_batch(Sample(context.program, train, train.head(4, 0), 0))


def seen_by(task: lrtune.Task, seed: int = 0) -> Any:
    """What exchanging examples and, failing that, another order show."""
    context = context_of(task, seed=seed)
    train = context.data.train
    return dependence(Sample(context.program, train, train.head(4, seed), seed))


def tokens_task(model: Callable[[], nn.Module]) -> lrtune.Task:
    """Sentences with a label."""
    return lrtune.Task(model=model, train=TensorDataset(TOKENS, LABELS), loss=F.cross_entropy)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimension", [0, 1])
def test_positions_along_the_batch(dimension: int, seed: int) -> None:
    """Positions along time are silent, those along the batch are told."""
    task = tokens_task(lambda: Reader(dimension))
    seen = seen_by(task, seed)
    assert (seen.by_place and seen.share > 1e-2) == (dimension == 0)
    assert dimension == 0 or seen.share < 1e-5
    assert ("batch-mixing" in codes(check_init(context_of(task, seed=seed)))) == (dimension == 0)


@pytest.mark.parametrize("by_row", [False, True])
def test_a_table_by_row(by_row: bool) -> None:
    """A number that belongs to the example may index a table, the row's number may not."""
    result = check_init(context_of(blob_task(model=lambda: Table(by_row))))
    assert codes(result).count("batch-mixing") == by_row
    assert not by_row or any("place in the batch" in one.message for one in result.findings)


def test_noise_stays_at_its_place() -> None:
    """Random numbers under one seed belong to places; they are no fault of the order."""
    assert placed_by(blob_task(model=Noisy)) is None


def test_batches_sorted_by_length() -> None:
    """The first example of a sorted batch says how long it is, and keeps its place."""

    def collate(rows: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        rows = sorted(rows, key=lambda row: -int((row[0] > 0).sum()))
        return torch.stack([row[0] for row in rows]), torch.stack([row[1] for row in rows])

    padded = TOKENS.masked_fill(torch.arange(6) > (torch.arange(96) % 4 + 2)[:, None], 0)
    loader = DataLoader(TensorDataset(padded, LABELS), batch_size=16, shuffle=True, collate_fn=collate)
    seen = placed_by(lrtune.Task(model=Sorted, train=loader, loss=F.cross_entropy))
    assert seen is None or seen.share < 1e-5


def test_time_first() -> None:
    """Batches `[time, batch]` of a loader of one's own have an order, and their examples are in columns."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.places, self.tokens, self.head = nn.Embedding(20, 8), nn.Embedding(9, 8), nn.Linear(8, 9)

        def forward(self, tokens: Tensor) -> Tensor:
            places = self.places(torch.arange(len(tokens)))[:, None]
            return self.head((self.tokens(tokens) + places).tanh())

    def step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(model(batch["x"]).flatten(0, 1), batch["y"].flatten())

    batches = [{"x": TOKENS[i : i + 7].T, "y": TOKENS[i : i + 7].T} for i in range(0, 28, 7)]
    assert placed_by(lrtune.Task(model=Tagger, train=batches, step=step)) is None


class Blind(nn.Module):
    """Attention by hand whose weights are as small as transformers' are.

    Args:
        dimension: That the softmax runs over.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.dimension = dimension
        self.lift, self.qkv, self.head = nn.Linear(4, 16), nn.Linear(16, 48), nn.Linear(16, 3)
        for layer in (self.lift, self.qkv):
            nn.init.normal_(layer.weight, std=0.002)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map `[batch, 4, 4]` to logits."""
        x = self.lift(inputs)
        q, k, v = self.qkv(x).chunk(3, dim=-1)
        return self.head((x + (q @ k.transpose(1, 2)).softmax(self.dimension) @ v).mean(1))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dimension", [0, -1])
def test_small_weights_hide_nothing(dimension: int, seed: int) -> None:
    """A softmax over the batch is seen though the scores are next to zero; one over the tokens mixes nothing."""
    data = TensorDataset(torch.randn(96, 4, 4, generator=generator(seed)), LABELS)
    context = context_of(blob_task(model=lambda: Blind(dimension), train=data, val=None))
    seen = dependence(Sample(context.program, context.data.train, context.data.train.head(1, seed), seed))
    assert seen is not None
    assert (batch_mixing(seen) is not None) == (dimension == 0)
