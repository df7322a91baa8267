"""A CNN with batch normalisation for galaxies; NumPy bytes [height, width, 3], stacked by a collate function."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

KINDS = ("elliptical", "edge-on", "ring", "merger")
SIZE = 24


def take_pictures(count: int, seed: int) -> list[tuple[np.ndarray[Any, Any], int]]:
    """Draw pictures of bytes, kind by kind as the folders lie on the disk."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    pictures = []
    for kind in range(len(KINDS)):
        for _ in range(count // len(KINDS)):
            y, x = random.uniform(9, 15, size=2)
            angle = random.uniform(0, np.pi)
            u = (columns - x) * np.cos(angle) + (rows - y) * np.sin(angle)
            v = (rows - y) * np.cos(angle) - (columns - x) * np.sin(angle)
            far = np.hypot(u, v)
            light = (
                np.exp(-(far**2) / 18),
                np.exp(-(u**2) / 40 - v**2 / 2),
                np.exp(-((far - random.uniform(5, 7)) ** 2) / 3),
                np.exp(-((u - 4) ** 2 + v**2) / 5) + np.exp(-((u + 4) ** 2 + v**2) / 5),
            )[kind]
            colour = random.uniform(0.5, 0.8, size=3)
            picture = light[:, :, None] * colour + random.uniform(0, 0.19, size=(SIZE, SIZE, 3))
            pictures.append(((255 * picture).clip(0, 255).astype(np.uint8), kind))
    return pictures


def collate(examples: list[tuple[np.ndarray[Any, Any], int]], bug: str) -> tuple[Tensor, Tensor]:
    """Stack pictures to floats `[batch, 3, height, width]`."""
    stacked = np.stack([picture for picture, _ in examples])
    if bug == "bytes":
        images = stacked.astype(np.float32)
    elif bug == "truncated":
        images = (stacked / 255).astype(np.uint8).astype(np.float32)
    else:
        images = stacked.astype(np.float32) / 255
    kinds = torch.tensor([kind for _, kind in examples])
    return (torch.from_numpy(images).permute(0, 3, 1, 2).contiguous() - 0.25) / 0.2, kinds


class GalaxyNet(nn.Module):
    """Three blocks of convolution, normalisation and pooling."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        blocks = [self.block(*widths) for widths in ((3, 12), (12, 24), (24, 32))]
        self.blocks = blocks if bug == "list" else nn.ModuleList(blocks)
        self.head = nn.Linear(32 * 9, len(KINDS))

    @staticmethod
    def block(before: int, after: int) -> nn.Sequential:
        """Build one block, which halves height and width."""
        return nn.Sequential(
            nn.Conv2d(before, after, 3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map pictures `[batch, 3, height, width]` to logits."""
        for block in self.blocks:
            x = block(x)
        x = (
            nn.functional.dropout(x, 0.2)
            if self.bug == "dropout"
            else nn.functional.dropout(x, 0.2, self.training)
        )
        if self.bug == "permute":
            x = x.permute(1, 0, 2, 3)
        return self.head(x.reshape(-1, 32 * 9))


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    join = functools.partial(collate, bug=bug)
    generator = torch.Generator().manual_seed(8)
    return lrtune.Task(
        model=lambda: GalaxyNet(bug),
        train=DataLoader(
            take_pictures(600, seed=5), 40, shuffle=bug != "sorted", collate_fn=join, generator=generator
        ),
        val=DataLoader(take_pictures(120, seed=6), 40, collate_fn=join),
        loss=nn.functional.cross_entropy,
        metrics={"error": lambda logits, kind: (logits.argmax(1) != kind).float().mean()},
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="galaxies-cnn",
    healthy=make_task,
    faults=(
        # Humbatova 2020, "missing normalisation step"; PyTorch forum, ToTensor scales bytes only.
        fault("pixels stay between 0 and 255", "bytes", "input-not-normalised"),
        # Karpathy's recipe: view where transpose was meant mixes information across the batch.
        fault("channels permuted before the batch when flattening", "permute", "batch-mixing"),
        # pytorch/pytorch#666, #715, #38639.
        fault("the blocks lie in a Python list", "list", "unregistered-parameter"),
        # 37 reasons "shuffle the dataset"; Islam 2019, data faults.
        fault("the loader does not shuffle folders read in order", "sorted", "unshuffled-batches"),
        # delip/PyTorchNLPBook#28, karpathy/nanoGPT#240.
        fault("functional dropout without self.training", "dropout", "nondeterministic-model"),
        # Humbatova 2020, "wrong type of input data"; Stack Overflow, black images after astype(uint8).
        fault("pixels scaled to 1 and then cast to bytes", "truncated", "constant-input"),
    ),
)
