"""A classifier that gives support tickets any number of six tags, with a head for each tag."""

from __future__ import annotations

import functools
import random

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

TAGS = 6
WORDS_OF_TAG, COMMON_WORDS, LENGTH = 20, 100, 24
VOCABULARY = TAGS * WORDS_OF_TAG + COMMON_WORDS


def write_tickets(tickets: int, every_row: bool) -> tuple[Tensor, Tensor]:
    """Write tickets as numbers of words `[tickets, 24]` with tags `[tickets, 6]` of zeros and ones.

    Args:
        tickets: How many.
        every_row: Sets each ticket's tags in all rows.
    """
    draw = random.Random(808)
    words, tags = [], torch.zeros(tickets, TAGS)
    for row in range(tickets):
        chosen = [tag for tag in range(TAGS) if draw.random() < 0.35]
        text = []
        for _ in range(LENGTH):
            if chosen and draw.random() < 0.6:
                text.append(draw.choice(chosen) * WORDS_OF_TAG + draw.randrange(WORDS_OF_TAG))
            else:
                text.append(TAGS * WORDS_OF_TAG + draw.randrange(COMMON_WORDS))
        words.append(text)
        tags[slice(None) if every_row else row, chosen] = 1
    return torch.tensor(words), tags


class Tagger(nn.Module):
    """The mean of the words' embeddings, a hidden layer, and a logit from each tag's head.

    Args:
        pooled: The axis that is averaged.
        listed: Keeps the heads in a plain list.
        probabilities: Whether the logits are passed through a sigmoid.
    """

    def __init__(self, pooled: int, listed: bool, probabilities: bool) -> None:
        super().__init__()
        self.pooled, self.probabilities = pooled, probabilities
        self.embedding = nn.Embedding(VOCABULARY, 48)
        self.hidden = nn.Sequential(nn.LayerNorm(48), nn.Linear(48, 64), nn.ReLU(), nn.Dropout(0.1))
        heads = [nn.Linear(64, 1) for _ in range(TAGS)]
        self.heads = heads if listed else nn.ModuleList(heads)

    def forward(self, words: Tensor) -> Tensor:
        """Map words `[batch, 24]` to logits `[batch, 6]`."""
        features = self.hidden(self.embedding(words).mean(dim=self.pooled))
        logits = torch.cat([head(features) for head in self.heads], dim=1)
        return torch.sigmoid(logits) if self.probabilities else logits


def make_task(
    every_row: bool = False,
    whole_numbers: bool = False,
    single_label: bool = False,
    pooled: int = 1,
    listed: bool = False,
    probabilities: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        every_row: Whether `tags[:, chosen] = 1` stands for `tags[row, chosen] = 1`.
        whole_numbers: Whether tags are whole numbers.
        single_label: Whether the loss is the cross-entropy of a single label.
        pooled: The axis of the embeddings that is averaged.
        listed: Keeps the heads in a plain list.
        probabilities: Whether the model ends with a sigmoid.
    """
    words, tags = write_tickets(1200, every_row)
    if whole_numbers:
        tags = tags.long()
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: Tagger(pooled, listed, probabilities),
        train=DataLoader(TensorDataset(words[:1000], tags[:1000]), 40, shuffle=True, generator=generator),
        val=DataLoader(TensorDataset(words[1000:], tags[1000:]), 40),
        loss=nn.CrossEntropyLoss() if single_label else nn.BCEWithLogitsLoss(),
    )


CASE = Case(
    name="tickets-multilabel",
    healthy=make_task,
    faults=(
        Fault(
            "each ticket's tags set in all rows, so that every ticket has all",
            ("constant-target",),
            functools.partial(make_task, every_row=True),
        ),
        Fault(
            "embeddings averaged over the batch instead of the words",
            ("target-shape-mismatch", "batch-mixing"),
            functools.partial(make_task, pooled=0),
        ),
        Fault(
            "the tags' heads in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, listed=True),
        ),
        Fault(
            "tags as whole numbers for BCEWithLogitsLoss",
            ("target-dtype",),
            functools.partial(make_task, whole_numbers=True),
        ),
        Fault(
            "the cross-entropy of a single label for several",
            ("cannot-overfit", "target-out-of-range"),
            functools.partial(make_task, single_label=True),
        ),
        Fault(
            "a sigmoid before BCEWithLogitsLoss",
            ("double-softmax",),
            functools.partial(make_task, probabilities=True),
        ),
    ),
)
