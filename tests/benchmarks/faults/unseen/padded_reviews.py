"""Short reviews, padded, read by an LSTM: do they praise or complain?"""

from __future__ import annotations

import functools
import random

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

PRAISE = ["good", "great", "lovely", "clever", "warm", "funny", "superb", "fresh"]
BLAME = ["bad", "awful", "boring", "cold", "silly", "stale", "weak", "dull"]
NOUNS = ["film", "plot", "music", "cast", "ending", "camera", "dialogue", "script"]
DEGREES = ["not", "very", "rather", "truly"]
WORDS = ["<pad>", "the", "was", "and", *PRAISE, *BLAME, *NOUNS, *DEGREES]
INDEX = {word: index for index, word in enumerate(WORDS)}
LENGTH = 48

Review = tuple[list[int], int]
Batch = tuple[Tensor, Tensor, Tensor]


def make_reviews(number: int = 1200) -> list[Review]:
    """Draw reviews of one or three statements; most statements decide, and "not" turns one round."""
    draw = random.Random(23)
    reviews = []
    for _ in range(number):
        words, total = [], 0
        for _ in range(draw.choice([1, 3])):
            praise, degree = draw.random() < 0.5, draw.choice(["", *DEGREES])
            words += ["and"] if words else []
            words += ["the", draw.choice(NOUNS), "was", *([degree] if degree else [])]
            words.append(draw.choice(PRAISE if praise else BLAME))
            total += 1 if praise != (degree == "not") else -1
        reviews.append(([INDEX[word] for word in words], int(total > 0)))
    return reviews


def collate(reviews: list[Review]) -> Batch:
    """Pad reviews to `[batch, LENGTH]`, with their lengths and labels."""
    tokens = torch.zeros(len(reviews), LENGTH, dtype=torch.long)
    for row, (words, _) in zip(tokens, reviews, strict=True):
        row[: len(words)] = torch.tensor(words)
    lengths = torch.tensor([len(words) for words, _ in reviews])
    return tokens, lengths, torch.tensor([label for _, label in reviews])


class Reader(nn.Module):
    """An LSTM whose state after the last word is classified.

    Args:
        batch_first: Whether the LSTM is told that examples come first.
        last_step: Reads the state after the padding.
        softmax_dim: Axis of the log-softmax.
        functional_dropout: Uses `functional.dropout` as it stands.
    """

    def __init__(
        self,
        batch_first: bool = True,
        last_step: bool = False,
        softmax_dim: int = 1,
        functional_dropout: bool = False,
    ) -> None:
        super().__init__()
        self.last_step, self.softmax_dim, self.functional_dropout = last_step, softmax_dim, functional_dropout
        self.embedding = nn.Embedding(len(WORDS), 24, padding_idx=0)
        self.lstm = nn.LSTM(24, 32, batch_first=batch_first)
        self.dropout = nn.Dropout(0.3)
        self.classifier = nn.Linear(32, 2)

    def forward(self, tokens: Tensor, lengths: Tensor) -> Tensor:
        """Map tokens `[batch, time]` to log-probabilities `[batch, 2]`."""
        states, _ = self.lstm(self.embedding(tokens))
        last = states[:, -1] if self.last_step else states[torch.arange(len(tokens)), lengths - 1]
        last = nn.functional.dropout(last, 0.3) if self.functional_dropout else self.dropout(last)
        return nn.functional.log_softmax(self.classifier(last), dim=self.softmax_dim)


def train_step(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Return the negative log-likelihood of a batch."""
    tokens, lengths, labels = batch
    output = model(tokens, lengths)
    return {"loss": nn.functional.nll_loss(output, labels), "output": output, "target": labels}


def compare_guesses(model: nn.Module, batch: Batch) -> Tensor:
    """Return how far the guessed classes are from the labels."""
    tokens, lengths, labels = batch
    guesses = model(tokens, lengths).argmax(dim=1)
    return nn.functional.mse_loss(guesses.float(), labels.float())


def make_adam(
    model: nn.Module, learning_rate: float, weight_decay: float, built_from: nn.Module | None = None
) -> torch.optim.Optimizer:
    """Build Adam over the model, or over one that stood in its place before."""
    parameters = (built_from or model).parameters()
    return torch.optim.Adam(parameters, lr=learning_rate, weight_decay=weight_decay)


def make_task(
    by_label: bool = False, guess_loss: bool = False, old_model: bool = False, **reader: bool | int
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        by_label: Reads the reviews as from two folders, one after the other, without a shuffle.
        guess_loss: Takes the loss of the guessed classes.
        old_model: Builds the optimizer before the model is built anew.
        reader: Arguments of `Reader`.
    """
    reviews = make_reviews()
    if by_label:
        reviews = sorted(reviews, key=lambda review: review[1])
    loader = DataLoader(
        reviews,
        batch_size=32,
        shuffle=not by_label,
        collate_fn=collate,
        generator=torch.Generator().manual_seed(1),
    )
    return lrtune.Task(
        model=lambda: Reader(**reader),
        train=loader,
        step=compare_guesses if guess_loss else train_step,
        optimizer=functools.partial(make_adam, built_from=Reader(**reader)) if old_model else make_adam,
    )


CASE = Case(
    name="padded-reviews",
    healthy=make_task,
    faults=(
        Fault(
            "LSTM without batch_first",
            ("batch-mixing",),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "state after the padding instead of after the last word",
            ("input-ignored", "vanishing-gradient"),
            functools.partial(make_task, last_step=True),
        ),
        Fault(
            "log-softmax over the batch",
            ("batch-mixing",),
            functools.partial(make_task, softmax_dim=0),
        ),
        Fault(
            "loss of the argmax",
            ("detached-loss",),
            functools.partial(make_task, guess_loss=True),
        ),
        Fault(
            "optimizer holds an earlier model's parameters",
            ("parameter-not-in-optimizer", "optimizer-does-not-step"),
            functools.partial(make_task, old_model=True),
        ),
        Fault(
            "functional dropout that never stops",
            ("nondeterministic-model",),
            functools.partial(make_task, functional_dropout=True),
        ),
        Fault(
            "one folder after the other, not shuffled",
            ("unshuffled-batches",),
            functools.partial(make_task, by_label=True),
        ),
    ),
)
