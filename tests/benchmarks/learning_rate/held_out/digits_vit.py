"""A vision transformer over sixteen patches of a digit, by AdamW."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import Tensor, nn
from torch.nn import functional

import lrtune

WIDTH, HEADS, PATCHES = 32, 4, 16


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value, self.attended = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 3 * WIDTH), nn.ReLU(), nn.Linear(3 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        split = self.query_key_value(self.before_attention(x)).unflatten(-1, (3, HEADS, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        gathered = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.attended(gathered.transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x))


class _ViT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Linear(4, WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(PATCHES, WIDTH))
        self.block = _Block()
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        patches = functional.pixel_unshuffle(images, 2).flatten(2).transpose(1, 2)
        return self.head(self.norm(self.block(self.patch(patches) + self.position)).mean(dim=1))


def _task() -> lrtune.Task:
    train, val = standardise_pixels(load_digits(copies=2, seed=22)).datasets()
    return lrtune.Task(model=_ViT, train=train, val=val, loss=functional.cross_entropy)


CASE = Case(
    name="digits-vit",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "adamw"}, "coarse": {"epochs": 2}},
    guess=1e-3,
)
