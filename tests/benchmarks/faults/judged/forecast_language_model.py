"""A transformer language model over the words of weather forecasts, with tied embeddings and attention by hand."""

from __future__ import annotations

import functools
import math
import random

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
TOWNS = ("oslo", "bergen", "lagos", "lima", "quito", "perth", "delhi", "kyoto")
COLD, WARM = ("snow", "sleet", "frost", "hail"), ("sun", "showers", "haze", "thunder")
WINDS = ("north", "east", "south", "west")
SPEEDS = ("calm", "light", "fresh", "strong")
OTHER = ("in", "wind", "from", "the", "cold", "warm", ".", "then")
WORDS = (*DAYS, *TOWNS, *COLD, *WARM, *WINDS, *SPEEDS, *OTHER)
CONTEXT, WIDTH, HEADS = 20, 32, 4


def write_forecasts(sentences: int) -> Tensor:
    """Write forecasts as numbers of words: the town decides the weather, the weather the wind."""
    draw = random.Random(606)
    text: list[str] = []
    for _ in range(sentences):
        town = draw.randrange(len(TOWNS))
        kinds, name = (COLD, "cold") if town < 2 else (WARM, "warm")
        weather = draw.randrange(4)
        text += [draw.choice(DAYS), "in", TOWNS[town], name, kinds[weather], "then", draw.choice(kinds)]
        text += [SPEEDS[weather], "wind", "from", "the", WINDS[(town + weather) % 4], "."]
    return torch.tensor([WORDS.index(word) for word in text])


class Forecasts(Dataset[tuple[Tensor, Tensor]]):
    """Windows of the text and what a model should say after each word.

    Args:
        text: Numbers of words.
        ahead: How many words after each the target lies.
    """

    def __init__(self, text: Tensor, ahead: int) -> None:
        self.windows = text.unfold(0, CONTEXT + 1, CONTEXT)
        self.ahead = ahead

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.windows[index, :CONTEXT], self.windows[index, self.ahead : self.ahead + CONTEXT]


class SelfAttention(nn.Module):
    """Attention in several heads.

    Args:
        hidden_from: The first diagonal that is masked, or None to mask nothing.
    """

    def __init__(self, hidden_from: int | None) -> None:
        super().__init__()
        self.hidden_from = hidden_from
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[batch, time, width]` to features of the same shape."""
        batch, time, _ = x.shape
        q, k, v = (
            part.view(batch, time, HEADS, WIDTH // HEADS).transpose(1, 2)
            for part in self.qkv(x).split(WIDTH, dim=2)
        )
        scores = q @ k.transpose(2, 3) / math.sqrt(WIDTH // HEADS)
        if self.hidden_from is not None:
            mask = torch.ones(time, time, device=x.device).triu(self.hidden_from).bool()
            scores = scores.masked_fill(mask, float("-inf"))
        out = scores.softmax(dim=-1) @ v
        return self.proj(out.transpose(1, 2).reshape(batch, time, WIDTH))


class LanguageModel(nn.Module):
    """Two blocks between tied embeddings.

    Args:
        hidden_from: The first diagonal that attention masks, or None.
        small: Whether the embeddings start small, as the tied output needs.
        probabilities: Whether the model ends with a softmax.
    """

    def __init__(self, hidden_from: int | None, small: bool, probabilities: bool) -> None:
        super().__init__()
        self.probabilities = probabilities
        self.words = nn.Embedding(len(WORDS), WIDTH)
        self.positions = nn.Embedding(CONTEXT, WIDTH)
        self.attentions = nn.ModuleList(SelfAttention(hidden_from) for _ in range(2))
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))
            for _ in range(2)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(5))
        self.head = nn.Linear(WIDTH, len(WORDS), bias=False)
        if small:
            nn.init.normal_(self.words.weight, std=0.05)
            nn.init.normal_(self.positions.weight, std=0.05)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map words `[batch, time]` to logits of the next ones, `[batch, time, words]`."""
        x = self.words(tokens) + self.positions(torch.arange(tokens.shape[1], device=tokens.device))
        for layer, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            x = x + attention(self.norms[2 * layer](x))
            x = x + mlp(self.norms[2 * layer + 1](x))
        logits = self.head(self.norms[4](x))
        return logits.softmax(dim=-1) if self.probabilities else logits


def make_task(
    ahead: int = 1,
    hidden_from: int | None = 1,
    small: bool = True,
    probabilities: bool = False,
    classes_last: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        ahead: How many words after each the target lies.
        hidden_from: The first diagonal that attention masks, or None to mask nothing.
        small: Whether the tied embeddings start small.
        probabilities: Whether the model ends with a softmax.
        classes_last: Whether the loss gets logits whose classes are not at dimension 1.
    """
    text = write_forecasts(1500)

    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        """Average the cross-entropy over words."""
        return F.cross_entropy(logits if classes_last else logits.transpose(1, 2), targets)

    return lrtune.Task(
        model=lambda: LanguageModel(hidden_from, small, probabilities),
        train=DataLoader(
            Forecasts(text[:17550], ahead), 16, shuffle=True, generator=torch.Generator().manual_seed(0)
        ),
        val=DataLoader(Forecasts(text[17550:], ahead), 50),
        loss=loss,
    )


CASE = Case(
    name="forecast-language-model",
    healthy=make_task,
    faults=(
        Fault(
            "targets that are not shifted",
            ("target-leak",),
            functools.partial(make_task, ahead=0),
        ),
        Fault(
            "logits [batch, time, words] for a loss that expects [batch, words, time]",
            ("target-shape-mismatch",),
            functools.partial(make_task, classes_last=True),
        ),
        Fault(
            "tied embeddings left at deviation 1",
            ("initial-loss-high",),
            functools.partial(make_task, small=False),
        ),
        Fault(
            "a mask that hides the diagonal, so the first word sees nothing",
            ("nonfinite-loss",),
            functools.partial(make_task, hidden_from=0),
        ),
        Fault(
            "no causal mask",
            ("target-leak",),
            functools.partial(make_task, hidden_from=None),
        ),
        Fault(
            "a softmax before the cross-entropy",
            ("double-softmax",),
            functools.partial(make_task, probabilities=True),
        ),
    ),
)
