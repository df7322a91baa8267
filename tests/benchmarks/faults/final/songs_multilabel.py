"""Eight moods of songs at once, some not annotated; batches are tuples of three, a head for each mood."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

MOODS = 8
FEATURES = 20


def annotate_songs(songs: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw standardised features `[songs, 20]`, moods `[songs, 8]` as 0 or 1, and which are annotated."""
    generator = torch.Generator().manual_seed(88)
    features = torch.randn(songs, FEATURES, generator=generator)
    directions = torch.randn(FEATURES, MOODS, generator=generator) / FEATURES**0.5
    scores = features @ directions + 0.3 * torch.randn(songs, MOODS, generator=generator)
    moods = (scores > 0.5).float()
    annotated = torch.rand(songs, MOODS, generator=generator) < 0.85
    return features, moods, annotated


class MoodNet(nn.Module):
    """A shared trunk and a head for each mood; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.trunk = nn.Sequential(nn.Linear(FEATURES, 64), nn.LeakyReLU(), nn.Linear(64, 48), nn.LeakyReLU())
        self.heads = nn.ModuleList([nn.Linear(48, 1) for _ in range(MOODS)])

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, 20]` to logits `[batch, moods]`, or to probabilities where a bug wants them."""
        hidden = self.trunk(features)
        answers = [head(hidden) for head in self.heads]
        logits = torch.stack(answers).view(-1, MOODS) if self.bug == "viewed" else torch.cat(answers, dim=1)
        return logits.sigmoid() if self.bug == "sigmoid" else logits


def train_step(
    model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], weight: Tensor | None, bug: str
) -> dict[str, Tensor]:
    """Return the mean loss of the annotated moods."""
    features, moods, annotated = batch
    logits = model(features)
    if bug == "sigmoid":
        each = nn.functional.binary_cross_entropy(logits.sigmoid(), moods, reduction="none")
    elif bug == "threshold":
        each = ((logits > 0).float() - moods).abs().requires_grad_()
    else:
        each = nn.functional.binary_cross_entropy_with_logits(
            logits, moods, pos_weight=weight, reduction="none"
        )
    mask = annotated.float()
    return {"loss": (each * mask).sum() / mask.sum(), "output": logits, "target": moods}


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    features, moods, annotated = annotate_songs(760)
    if bug == "signs":
        moods = 2 * moods - 1
    elif bug == "missing":
        moods = moods.masked_fill(~annotated, float("nan"))
    elif bug == "unseen":
        moods[:, 5] = 0.0
    positive = moods.sum(dim=0)
    weight = (len(moods) - positive) / positive if bug in ("", "unseen") else None
    generator = torch.Generator().manual_seed(3)
    return lrtune.Task(
        model=lambda: MoodNet(bug),
        train=DataLoader(
            TensorDataset(features[:640], moods[:640], annotated[:640]), 64, shuffle=True, generator=generator
        ),
        val=DataLoader(TensorDataset(features[640:], moods[640:], annotated[640:]), 60),
        step=functools.partial(train_step, weight=weight, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="songs-multilabel",
    healthy=make_task,
    faults=(
        fault("a sigmoid in the model and one before BCELoss", "sigmoid", "double-softmax"),
        fault("moods as -1 and 1", "signs", "target-out-of-range"),
        fault(
            "moods that are not annotated are NaN, times a mask of 0",
            "missing",
            "nonfinite-target",
            "nonfinite-loss",
        ),
        fault("weights 1/0 for a mood that no song has", "unseen", "nonfinite-loss"),
        fault("the heads' answers stacked in front and viewed", "viewed", "batch-mixing"),
        fault("the loss of thresholded logits", "threshold", "detached-loss"),
    ),
)
