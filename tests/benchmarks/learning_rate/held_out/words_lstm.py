"""A long short-term memory that predicts the next word of English prose, by SGD with momentum at a rate near 1."""

from __future__ import annotations

import collections
import re

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_prose, split_windows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

CONTEXT, WIDTH, VOCABULARY = 8, 32, 400


def _windows() -> Split:
    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]", load_prose().lower())
    frequent = [word for word, _ in collections.Counter(words).most_common(VOCABULARY - 1)]
    numbers = {word: number for number, word in enumerate(frequent, start=1)}  # 0 is any other word
    return split_windows(torch.tensor([numbers.get(word, 0) for word in words]), CONTEXT, stride=4)


class _LSTM(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.lstm(self.word(tokens))[0])


def _next_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    tokens, targets = batch
    logits = model(tokens)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return {"loss": loss, "output": logits, "target": targets}


def _task() -> lrtune.Task:
    train, val = _windows().datasets()
    return lrtune.Task(model=_LSTM, train=train, val=val, step=_next_word)


CASE = Case(
    name="words-lstm",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 2}},
    guess=0.1,
)
