"""Which character of a line of Python belongs to what kind of token: a bidirectional LSTM on padded lines, by Adam."""

from __future__ import annotations

import argparse
import inspect
import io
import tokenize

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

LENGTH, WIDTH, LINES = 20, 20, 1900
KINDS = (tokenize.NAME, tokenize.OP, tokenize.STRING, tokenize.NUMBER, tokenize.COMMENT)  # 0 is space
PADDING = -100  # the target that cross-entropy leaves out


def _kinds(source: str) -> list[list[int]]:
    """Return for each line the kind of each of its characters."""
    kinds = [[0] * len(line) for line in source.splitlines()]
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in KINDS:
            for row in range(token.start[0] - 1, token.end[0]):
                first = token.start[1] if row == token.start[0] - 1 else 0
                last = token.end[1] if row == token.end[0] - 1 else len(kinds[row])
                kinds[row][first:last] = [KINDS.index(token.type) + 1] * (last - first)
    return kinds


def _lines() -> Split:
    """Return lines without their indentation `[lines, LENGTH]` as character codes, 0 being padding, and their tags."""
    source = inspect.getsource(argparse)
    characters, tags = [], []
    for line, kinds in zip(source.splitlines(), _kinds(source), strict=True):
        start = len(line) - len(line.lstrip())
        codes = [min(ord(character), 127) for character in line[start:]][:LENGTH]
        if codes:
            missing = LENGTH - len(codes)
            characters.append(codes + [0] * missing)
            tags.append(kinds[start : start + LENGTH] + [PADDING] * missing)
    order = torch.randperm(len(tags), generator=torch.Generator().manual_seed(13))[:LINES]
    return split_rows(torch.tensor(characters)[order], torch.tensor(tags)[order], LINES * 5 // 6)


class _Tagger(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.character = nn.Embedding(128, WIDTH, padding_idx=0)
        self.lstm = nn.LSTM(WIDTH, WIDTH, batch_first=True, bidirectional=True)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(2 * WIDTH, len(KINDS) + 1)

    def forward(self, characters: Tensor) -> Tensor:
        return self.head(self.drop(self.lstm(self.character(characters))[0]))


def _tag(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    characters, tags = batch
    logits = model(characters)
    loss = functional.cross_entropy(logits.flatten(0, 1), tags.flatten(), ignore_index=PADDING)
    return {"loss": loss, "output": logits, "target": tags}


def _task() -> lrtune.Task:
    train, val = _lines().datasets()
    return lrtune.Task(model=_Tagger, train=train, val=val, step=_tag)


CASE = Case(
    name="source-tagger",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "adam"}, "coarse": {"epochs": 4}},
    guess=1e-3,
)
