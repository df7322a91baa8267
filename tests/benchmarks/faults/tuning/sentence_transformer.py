"""A causal transformer that learns sentences character by character, with tied weights and dict batches."""

from __future__ import annotations

import functools
import math
import random

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

ALPHABET = "_ .abcdefghijklmnopqrstuvwxyz"  # the first stands for padding and for whatever is unknown
CONTEXT = 32
WIDTH = 32


class Sentences(Dataset[dict[str, Tensor]]):
    """Sentences such as "two cats see one dog.", padded to a common length.

    Args:
        count: Sentences.
        seed: Of the draw.
        shifted: Whether the targets are the characters that follow, not the characters themselves.
        capitals: Writes the text in capitals, which the alphabet lacks.
    """

    def __init__(self, count: int, seed: int, shifted: bool = True, capitals: bool = False) -> None:
        draw = random.Random(seed)
        rows = [self.encoded(self.sentence(draw), capitals) for _ in range(count)]
        codes = torch.tensor(rows)
        self.tokens = codes[:, :-1]
        self.targets = codes[:, 1:] if shifted else codes[:, :-1]
        self.mask = torch.tensor(
            [[position < sum(map(bool, row)) for position in range(CONTEXT)] for row in rows]
        )
        if capitals:
            self.mask = torch.ones_like(self.mask)

    @staticmethod
    def sentence(draw: random.Random) -> str:
        """Draw a sentence whose verb agrees with its subject."""
        number, other = draw.choices(["one", "two", "six", "ten"], k=2)
        subject, thing = draw.choices(["cat", "dog", "owl", "pig", "hen", "frog", "bear"], k=2)
        verb = draw.choice(["see", "help", "like", "meet", "trust"])
        subject, verb = (subject, verb + "s") if number == "one" else (subject + "s", verb)
        return f"{number} {subject} {verb} {other} {thing if other == 'one' else thing + 's'}."

    @staticmethod
    def encoded(text: str, capitals: bool) -> list[int]:
        """Return one code a character."""
        text = (text.upper() if capitals else text).ljust(CONTEXT + 1, "_")
        return [max(ALPHABET.find(character), 0) for character in text]

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"tokens": self.tokens[index], "targets": self.targets[index], "mask": self.mask[index]}


class Block(nn.Module):
    """Self-attention and a perceptron, each on a normalised input and added to it.

    Args:
        diagonal: The first diagonal of scores that is masked; 1 lets every character see itself.
        masked: Whether the future is masked at all.
        batch_first: Whether the attention takes the batch as its first dimension.
    """

    def __init__(self, diagonal: int, masked: bool, batch_first: bool) -> None:
        super().__init__()
        self.diagonal, self.masked, self.batch_first = diagonal, masked, batch_first
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, num_heads=2, batch_first=batch_first)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, time, width]` to features of the same shape."""
        length = features.shape[1] if self.batch_first else features.shape[0]
        mask = None
        if self.masked:
            mask = torch.full((length, length), -math.inf, device=features.device).triu(self.diagonal)
        normed = self.before_attention(features)
        features = features + self.attention(normed, normed, normed, attn_mask=mask)[0]
        return features + self.mlp(self.before_mlp(features))


class Transformer(nn.Module):
    """Two blocks between an embedding and the same embedding as the output layer.

    Args:
        small_init: Whether the embedding is drawn small instead of with deviation 1.
        positions_added: Whether the positions enter the sum.
        listed: Keeps the blocks in a plain list.
        diagonal: As in `Block`.
        masked: As in `Block`.
        batch_first: As in `Block`.
    """

    def __init__(
        self,
        small_init: bool = True,
        positions_added: bool = True,
        listed: bool = False,
        diagonal: int = 1,
        masked: bool = True,
        batch_first: bool = True,
    ) -> None:
        super().__init__()
        self.positions_added = positions_added
        self.character = nn.Embedding(len(ALPHABET), WIDTH)
        self.position = nn.Embedding(CONTEXT, WIDTH)
        blocks = [Block(diagonal, masked, batch_first) for _ in range(2)]
        self.blocks = blocks if listed else nn.ModuleList(blocks)
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, len(ALPHABET), bias=False)
        self.head.weight = self.character.weight
        if small_init:
            nn.init.normal_(self.character.weight, std=0.05)
            nn.init.normal_(self.position.weight, std=0.05)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map characters `[batch, time]` to logits of the next ones."""
        features = self.character(tokens)
        if self.positions_added:
            features = features + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            features = block(features)
        return self.head(self.norm(features))


def next_character(
    model: nn.Module, batch: dict[str, Tensor], divided_again: bool = False, over_padding: bool = False
) -> dict[str, Tensor]:
    """Score the guesses of all next characters that are not padding.

    Args:
        model: The transformer.
        batch: Tokens, targets and mask.
        divided_again: Divides the mean by the size of the batch.
        over_padding: Takes the mean over all positions, padding included.
    """
    logits = model(batch["tokens"])
    losses = nn.functional.cross_entropy(logits.flatten(0, 1), batch["targets"].flatten(), reduction="none")
    mask = batch["mask"].flatten()
    loss = (losses * mask).mean() if over_padding else (losses * mask).sum() / mask.sum()
    if divided_again:
        loss = loss / len(logits)
    return {"loss": loss, "output": logits, "target": batch["targets"]}


def make_task(
    shifted: bool = True,
    capitals: bool = False,
    divided_again: bool = False,
    over_padding: bool = False,
    **network: bool | int,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: Transformer(**network),
        train=Sentences(800, 0, shifted, capitals),
        val=Sentences(100, 1, shifted, capitals),
        step=functools.partial(next_character, divided_again=divided_again, over_padding=over_padding),
    )


CASE = Case(
    name="sentence-transformer",
    healthy=make_task,
    faults=(
        Fault(
            "the tokeniser knows no capitals: all is unknown",
            ("constant-input", "constant-target"),
            functools.partial(make_task, capitals=True),
        ),
        Fault(
            "targets not shifted by one",
            ("target-leak",),
            functools.partial(make_task, shifted=False),
        ),
        Fault(
            "no causal mask",
            ("target-leak",),
            functools.partial(make_task, masked=False),
        ),
        Fault(
            "tied embedding drawn with deviation 1",
            ("initial-loss-high",),
            functools.partial(make_task, small_init=False),
        ),
        Fault(
            "the mean divided by the size of the batch",
            ("loss-not-mean", "initial-loss-low"),
            functools.partial(make_task, divided_again=True),
        ),
        Fault(
            "masked losses averaged over the padding, too",
            ("initial-loss-low", "loss-not-mean"),
            functools.partial(make_task, over_padding=True),
        ),
        Fault(
            "the causal mask hides the diagonal",
            ("nonfinite-loss",),
            functools.partial(make_task, diagonal=0),
        ),
        Fault(
            "batch_first forgotten in the attention",
            ("batch-mixing",),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "blocks in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, listed=True),
        ),
        Fault(
            "positions never added",
            ("parameter-without-gradient",),
            functools.partial(make_task, positions_added=False),
        ),
    ),
    config={"batch_size": 16, "optimizer": {"name": "adamw"}},
)
