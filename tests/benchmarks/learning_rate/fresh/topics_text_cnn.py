"""To which of ten pages of Python's manual eighteen words belong: convolutions over embedded words, by Adam."""

from __future__ import annotations

import collections
import pydoc_data.topics
import re

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn

import lrtune

LENGTH, STRIDE, VOCABULARY, WIDTH, FILTERS = 18, 9, 800, 24, 16
PAGES = 10


def _passages() -> Split:
    longest = sorted(pydoc_data.topics.topics.values(), key=len, reverse=True)[:PAGES]
    pages = [re.findall(r"[a-z]+", page.lower()) for page in longest]
    frequent = collections.Counter(word for page in pages for word in page).most_common(VOCABULARY - 1)
    numbers = {word: number for number, (word, _) in enumerate(frequent, start=1)}  # 0 is any other word
    passages, topics = [], []
    for topic, page in enumerate(pages):
        windows = torch.tensor([numbers.get(word, 0) for word in page]).unfold(0, LENGTH, STRIDE)
        passages.append(windows)
        topics.append(torch.full((len(windows),), topic))
    order = torch.randperm(sum(map(len, topics)), generator=torch.Generator().manual_seed(21))
    return split_rows(torch.cat(passages)[order], torch.cat(topics)[order], len(order) * 5 // 6)


class _TextCNN(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word = nn.Embedding(VOCABULARY, WIDTH)
        self.filters = nn.ModuleList(nn.Conv1d(WIDTH, FILTERS, size) for size in (1, 2, 3))
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(3 * FILTERS, PAGES)

    def forward(self, words: Tensor) -> Tensor:
        embedded = self.word(words).transpose(1, 2)
        found = [layer(embedded).relu().amax(2) for layer in self.filters]
        return self.head(self.drop(torch.cat(found, dim=1)))


def _task() -> lrtune.Task:
    train, val = _passages().datasets()
    return lrtune.Task(model=_TextCNN, train=train, val=val, loss=nn.functional.cross_entropy)


CASE = Case(
    name="topics-text-cnn",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "adam"}, "coarse": {"epochs": 3}},
    guess=1e-3,
)
