"""Pictures and texts of recipes brought together as CLIP does it; two encoders, a learnt temperature, dict batches."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

WORDS, TEXT, PICTURE, WIDTH = 40, 8, 30, 24


def collect_recipes(recipes: int) -> list[dict[str, Tensor]]:
    """Draw recipes: features of a picture `[30]`, standardised, and words `[8]`, both from the same ingredients."""
    generator = torch.Generator().manual_seed(321)
    looks = torch.randn(WORDS, PICTURE, generator=generator)
    examples = []
    for _ in range(recipes):
        words = torch.randperm(WORDS, generator=generator)[:TEXT]
        picture = looks[words].sum(0) / TEXT**0.5 + 0.2 * torch.randn(PICTURE, generator=generator)
        examples.append({"picture": picture, "words": words})
    return examples


class PictureEncoder(nn.Module):
    """A perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(PICTURE, 64), nn.ReLU(), nn.Linear(64, WIDTH))

    def forward(self, picture: Tensor) -> Tensor:
        """Map `[batch, 30]` to `[batch, width]`."""
        return self.layers(picture)


class TextEncoder(nn.Module):
    """The mean of embeddings, and a perceptron."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.EmbeddingBag(WORDS, 48, mode="mean")
        self.layers = nn.Sequential(nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, WIDTH))

    def forward(self, words: Tensor) -> Tensor:
        """Map `[batch, 8]` to `[batch, width]`."""
        return self.layers(self.words(words))


class Clip(nn.Module):
    """Both encoders and the similarities of all pairs; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.picture, self.text = PictureEncoder(), TextEncoder()
        start = torch.tensor(1 / 0.07 if bug == "scale" else math.log(1 / 0.07))
        self.scale: Any = start.requires_grad_() if bug == "tensor" else nn.Parameter(start)

    def forward(self, picture: Tensor, words: Tensor) -> Tensor:
        """Map pictures and words to similarities `[batch, batch]`."""
        seen = self.picture(picture)
        if self.bug == "no_grad":
            with torch.no_grad():
                read = self.text(words)
        else:
            read = self.picture(picture) if self.bug == "twice" else self.text(words)
        if self.bug == "long":
            seen, read = (
                8 * nn.functional.layer_norm(seen, (WIDTH,)),
                nn.functional.layer_norm(read, (WIDTH,)),
            )
        else:
            seen, read = nn.functional.normalize(seen, dim=-1), nn.functional.normalize(read, dim=-1)
        return self.scale.exp() * seen @ read.t()


def train_step(model: nn.Module, batch: dict[str, Tensor], bug: str) -> dict[str, Tensor]:
    """Return the symmetric loss of finding the other half."""
    similarities = model(batch["picture"], batch["words"])
    partners = torch.arange(len(similarities), device=similarities.device)
    if bug == "first":
        partners = torch.zeros_like(partners)
    there = nn.functional.cross_entropy(similarities, partners)
    back = nn.functional.cross_entropy(similarities.t(), partners)
    return {"loss": (there + back) / 2, "output": similarities, "target": partners}


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    examples = collect_recipes(600)
    generator = torch.Generator().manual_seed(2)
    return lrtune.Task(
        model=lambda: Clip(bug),
        train=DataLoader(examples[:512], 32, shuffle=True, drop_last=True, generator=generator),
        val=DataLoader(examples[512:], 32, drop_last=True),
        step=functools.partial(train_step, bug=bug),
        optimizer=lambda model, lr, decay: torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="recipes-clip",
    healthy=make_task,
    faults=(
        fault("zeros instead of arange as the partners", "first", "constant-target"),
        fault("the text encoder under no_grad", "no_grad", "parameter-without-gradient"),
        fault("a scale of 14.3 that is exponentiated, without its logarithm", "scale", "initial-loss-high"),
        fault("features not brought to length 1 before the temperature", "long", "initial-loss-high"),
        fault("the picture's encoder on both sides", "twice", "parameter-without-gradient"),
        fault("the temperature a tensor with requires_grad", "tensor", "unregistered-parameter"),
    ),
)
