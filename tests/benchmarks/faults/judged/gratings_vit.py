"""A vision transformer that tells which grating lies above which, with PyTorch's own encoder and a step function."""

from __future__ import annotations

import functools
import itertools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

PAIRS = tuple(itertools.permutations(range(3), 2))  # orientations of the upper and the lower grating
SIZE, PATCH, WIDTH = 12, 3, 32
PATCHES = (SIZE // PATCH) ** 2


def draw_gratings(images: int) -> tuple[Tensor, Tensor]:
    """Draw images `[images, 1, 12, 12]` of bytes, two gratings above each other, and the number of their pair."""
    generator = torch.Generator().manual_seed(404)
    labels = torch.randint(len(PAIRS), (images,), generator=generator)
    angles = torch.tensor(PAIRS)[labels] + 0.3 * (torch.rand(images, 2, generator=generator) - 0.5)
    angles = (angles * math.pi / 3)[:, :, None, None]
    phases = 2 * math.pi * torch.rand(images, 2, 1, 1, generator=generator)
    rows, columns = torch.meshgrid(torch.arange(SIZE // 2), torch.arange(SIZE), indexing="ij")
    waves = torch.sin(1.2 * (rows * angles.sin() + columns * angles.cos()) + phases).flatten(1, 2)
    noise = 12 * torch.randn(images, SIZE, SIZE, generator=generator)
    return (120 + 70 * waves + noise).clamp(0, 250).byte().unsqueeze(1), labels


class VisionTransformer(nn.Module):
    """Patches, a class token, learned positions and two encoder layers.

    Args:
        batch_first: Whether the encoder is told that the batch comes first.
        registered: Whether the positions are a parameter.
        positioned: Whether the positions are added.
        first_example: Reads the first example's tokens instead of every example's first token.
    """

    def __init__(self, batch_first: bool, registered: bool, positioned: bool, first_example: bool) -> None:
        super().__init__()
        self.positioned, self.first_example = positioned, first_example
        self.embed = nn.Conv2d(1, WIDTH, PATCH, stride=PATCH)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        positions = 0.02 * torch.randn(1, PATCHES + 1, WIDTH)
        self.positions = nn.Parameter(positions) if registered else positions.requires_grad_()
        layer = nn.TransformerEncoderLayer(
            WIDTH,
            nhead=4,
            dim_feedforward=64,
            dropout=0.0,
            activation="gelu",
            batch_first=batch_first,
            norm_first=True,
        )
        self.encoder = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, len(PAIRS))
        nn.init.trunc_normal_(self.head.weight, std=0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 12, 12]` to logits `[batch, pairs]`."""
        tokens = self.embed(images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.class_token.expand(len(tokens), -1, -1), tokens], dim=1)
        if self.positioned:
            tokens = tokens + self.positions
        tokens = self.encoder(tokens)
        return self.head(tokens[0] if self.first_example else tokens[:, 0])


def make_task(
    whole_division: bool = False,
    divided_twice: bool = False,
    batch_first: bool = True,
    registered: bool = True,
    positioned: bool = True,
    first_example: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        whole_division: Divides bytes by 255 with `//`.
        divided_twice: Divides the mean loss by the size of the batch.
        batch_first: Passed to the encoder.
        registered: Whether the positions are a parameter.
        positioned: Whether the positions are added.
        first_example: Whether `tokens[0]` is read for `tokens[:, 0]`.
    """
    pixels, labels = draw_gratings(1000)
    shares = (pixels // 255).float() if whole_division else pixels.float() / 255
    images = (shares - 0.47) / 0.2
    criterion = nn.CrossEntropyLoss()

    def step(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
        """Score one batch."""
        images, labels = batch
        logits = model(images)
        loss = criterion(logits, labels)
        if divided_twice:
            loss = loss / len(labels)
        return {"loss": loss, "output": logits, "target": labels}

    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: VisionTransformer(batch_first, registered, positioned, first_example),
        train=DataLoader(
            TensorDataset(images[:800], labels[:800]), 50, shuffle=True, drop_last=True, generator=generator
        ),
        val=DataLoader(TensorDataset(images[800:], labels[800:]), 100),
        step=step,
    )


CASE = Case(
    name="gratings-vit",
    healthy=make_task,
    faults=(
        Fault(
            "an encoder layer without batch_first=True",
            ("batch-mixing",),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "tokens[0] for the class token instead of tokens[:, 0]",
            ("target-shape-mismatch", "batch-mixing"),
            functools.partial(make_task, first_example=True),
        ),
        Fault(
            "positions a tensor with requires_grad instead of a parameter",
            ("unregistered-parameter",),
            functools.partial(make_task, registered=False),
        ),
        Fault(
            "positions never added",
            ("parameter-without-gradient",),
            functools.partial(make_task, positioned=False),
        ),
        Fault(
            "bytes divided by 255 in whole numbers",
            ("constant-input",),
            functools.partial(make_task, whole_division=True),
        ),
        Fault(
            "the mean loss divided by the batch size once more",
            ("loss-not-mean",),
            functools.partial(make_task, divided_twice=True),
        ),
    ),
)
