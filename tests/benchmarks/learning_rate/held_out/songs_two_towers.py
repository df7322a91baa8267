"""Listeners and songs meet in one space: contrastive, the other songs of a batch being the negatives, by Adam."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

LISTENERS, SONGS, WIDTH = 300, 400, 16
TRAIN, VAL = 8000, 1024


def _plays() -> tuple[Tensor, Tensor]:
    """Draw who listened to what, and the songs' sounds `[plays, 12]`."""
    draw = torch.Generator().manual_seed(29)
    genre = torch.randn(10, 5, generator=draw)
    song = genre[torch.randint(10, (SONGS,), generator=draw)] + 0.5 * torch.randn(SONGS, 5, generator=draw)
    taste = genre[torch.randint(10, (LISTENERS,), generator=draw)]
    taste = taste + 0.5 * torch.randn(LISTENERS, 5, generator=draw)
    sound = song @ torch.randn(5, 12, generator=draw) + 0.5 * torch.randn(SONGS, 12, generator=draw)
    listener = torch.randint(LISTENERS, (TRAIN + VAL,), generator=draw)
    liking = (1.2 * taste @ song.T).softmax(dim=1)
    played = torch.multinomial(liking[listener], 1, generator=draw).squeeze(1)
    return listener, ((sound - sound.mean(dim=0)) / sound.std(dim=0))[played]


class _Towers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.listener = nn.Embedding(LISTENERS, WIDTH)
        nn.init.normal_(self.listener.weight, std=0.1)
        self.song = nn.Sequential(nn.Linear(12, 64), nn.ReLU(), nn.Linear(64, WIDTH))

    def forward(self, listener: Tensor, sound: Tensor) -> tuple[Tensor, Tensor]:
        return self.listener(listener), self.song(sound)


def _contrast(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    left, right = model(*batch)
    return functional.cross_entropy(left @ right.T, torch.arange(len(left), device=left.device))


def _task() -> lrtune.Task:
    columns = _plays()
    return lrtune.Task(
        model=_Towers,
        train=TensorDataset(*(column[:TRAIN] for column in columns)),
        val=TensorDataset(*(column[TRAIN:] for column in columns)),
        step=_contrast,
    )


CASE = Case(
    name="songs-two-towers",
    task=_task,
    config={"batch_size": 100, "optimizer": {"name": "adam"}, "coarse": {"epochs": 5}},
    guess=1e-3,
)
