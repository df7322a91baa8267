"""Programs whose memory is measured, and the measure: what torch's allocator hands out, kernels' own needs included."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from programs import generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.profiler import ProfilerActivity, profile
from torch.utils.data import TensorDataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

BATCH = 32


def allocated(run: Callable[[], object]) -> int:
    """Return the most bytes that the allocator had handed out at once while a function ran; no sampling."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        run()
    results = profiled.profiler.kineto_results.events()  # type: ignore[union-attr]
    events = sorted((one.start_ns(), one.nbytes()) for one in results if one.name() == "[memory]")
    now = peak = 0
    for _, size in events:
        now += size
        peak = max(peak, now)
    return peak


class Transformer(nn.Module):
    """An encoder layer over tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(30, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        self.head = nn.Linear(32, 30)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits, classes second."""
        out: Tensor = self.head(self.layer(self.embedding(tokens))).transpose(1, 2)
        return out


def perceptron() -> lrtune.Task:
    """A perceptron of three layers."""
    inputs, target = torch.randn(128, 64, generator=generator(0)), torch.arange(128) % 10
    return lrtune.Task(
        model=lambda: nn.Sequential(
            nn.Linear(64, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)
        ),
        train=TensorDataset(inputs, target),
        loss=F.cross_entropy,
    )


def convolutions() -> lrtune.Task:
    """A convolutional network with batch normalisation."""
    inputs, target = torch.randn(128, 3, 16, 16, generator=generator(0)), torch.arange(128) % 10
    return lrtune.Task(
        model=lambda: nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(2048, 10),
        ),
        train=TensorDataset(inputs, target),
        loss=F.cross_entropy,
    )


def transformer() -> lrtune.Task:
    """A transformer over 32 tokens."""
    tokens = torch.randint(30, (128, 33), generator=generator(0))
    return lrtune.Task(
        model=Transformer, train=TensorDataset(tokens[:, :-1], tokens[:, 1:]), loss=F.cross_entropy
    )


TASKS = {"perceptron": perceptron, "convolutions": convolutions, "transformer": transformer}
