"""Contrastive learning of melodies: two renditions of a tune attract each other; NT-Xent by distances."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

NOTES, TEMPERATURE = 24, 0.2


def perform_(tune: Tensor, generator: torch.Generator) -> Tensor:
    """Perform a tune in place: in another key, louder or softer, and not quite in tune."""
    tune.mul_(1 + 0.15 * torch.randn((), generator=generator))
    tune.add_(0.3 * torch.randn((), generator=generator))
    return tune.add_(0.15 * torch.randn(NOTES, generator=generator))


class Renditions(Dataset[tuple[Tensor, Tensor]]):
    """Pairs of renditions of the same tune."""

    def __init__(self, tunes: int, seed: int, bug: str) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.pairs = []
        for _ in range(tunes):
            tune = torch.randint(-2, 3, (NOTES,), generator=generator).float().cumsum(dim=0)
            tune = (tune - tune.mean()) / (tune.std() + 0.5)
            copies = (tune, tune) if bug == "in place" else (tune.clone(), tune.clone())
            self.pairs.append(tuple(perform_(copy, generator) for copy in copies))

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return one pair."""
        return self.pairs[index]


class Encoder(nn.Module):
    """Convolutions over time and a projection to the unit sphere."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.axis = 0 if bug == "axis" else 1
        self.body = nn.Sequential(
            nn.Conv1d(1, 24, 5, padding=2),
            nn.ReLU(),
            nn.Conv1d(24, 24, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(24 * NOTES // 2, 64),
            nn.ReLU(),
        )
        self.project = nn.Linear(64, 24)

    def forward(self, tunes: Tensor) -> Tensor:
        """Map tunes `[batch, notes]` to vectors of length 1 `[batch, 24]`."""
        return nn.functional.normalize(self.project(self.body(tunes.unsqueeze(1))), dim=self.axis)


def nt_xent(vectors: Tensor, bug: str) -> Tensor:
    """Compute the cross-entropy of finding each vector's partner, half of the batch further on."""
    count = len(vectors)
    distance = (vectors.unsqueeze(0) - vectors.unsqueeze(1)).pow(2).sum(dim=-1) / 2
    if bug == "root":
        distance = (2 * distance).sqrt()
    scores = -distance * TEMPERATURE if bug == "times" else -distance / TEMPERATURE
    if bug != "diagonal":
        scores = scores.masked_fill(torch.eye(count, dtype=torch.bool), float("-inf"))
    partner = torch.arange(count)
    if bug != "itself":
        partner = partner.roll(count // 2)
    return nn.functional.cross_entropy(scores, partner)


def step(model: nn.Module, batch: list[Tensor], bug: str) -> Tensor:
    """Compute the loss of a batch of pairs."""
    first, second = batch
    return nt_xent(model(torch.cat([first, second])), bug)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    return lrtune.Task(
        model=lambda: Encoder(bug),
        train=Renditions(640, 7, bug),
        val=Renditions(128, 8, bug),
        step=functools.partial(step, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="melodies-contrastive",
    healthy=make_task,
    config={"optimizer": {"name": "adam"}, "batch_size": 32},
    faults=(
        # Lightning-Universe/lightning-bolts#695 and #252: the similarity with itself stays in the sum.
        fault("the similarity with itself is not masked", "diagonal", "cannot-overfit"),
        # thuanz123/realfill#4 and xudonmao/VMT#1, faults of augmentation; PyTorch forum, in-place transforms.
        fault("both renditions are one tensor, changed in place", "in place", "target-leak"),
        # PyTorch-NLP#2, PyTorch-Encoding#115: the wrong dimension of a normalisation.
        fault("vectors are normalised along the batch", "axis", "batch-mixing"),
        # Humbatova 2020, "wrong loss function calculation".
        fault("the temperature multiplies the scores", "times", "cannot-overfit"),
        # lightning-bolts#252, Spijkervet/SimCLR#5: indices of the positives; 37 reasons.
        fault("each vector is to find itself, which is masked", "itself", "nonfinite-loss"),
        # tilman151/rul-adapt#22, open-mmlab/mmrotate#205: the derivative of sqrt at 0.
        fault("square root of the distance to itself", "root", "nonfinite-gradient"),
    ),
)
