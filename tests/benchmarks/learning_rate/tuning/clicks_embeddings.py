"""Whether a visitor clicks, from embedded categories and a few numbers, by Adagrad."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

SIZES = (60, 150, 7, 24, 30)  # advertiser, page, weekday, hour, region
VISITS, TRAIN = 9000, 8192


def _visits() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(5)
    # Squares of uniforms: a few categories are frequent and many are rare.
    shares = torch.rand(VISITS, len(SIZES), generator=draw).square()
    categories = (shares * torch.tensor(SIZES)).long()
    numbers = torch.randn(VISITS, 4, generator=draw)
    effects = [torch.randn(size, 3, generator=draw)[categories[:, at]] for at, size in enumerate(SIZES)]
    score = 1.2 * (effects[0] * effects[1]).sum(dim=1) + effects[2][:, 0] * numbers[:, 0]
    score = score + sum(effect[:, 1] for effect in effects) + numbers[:, 1].square() - 2.0
    return categories, numbers, torch.bernoulli(score.sigmoid(), generator=draw)


class _Clicks(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 8) for size in SIZES)
        self.mlp = nn.Sequential(nn.Linear(8 * len(SIZES) + 4, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        self.head = nn.Linear(32, 1)

    def forward(self, categories: Tensor, numbers: Tensor) -> Tensor:
        embedded = [table(column) for table, column in zip(self.tables, categories.unbind(1), strict=True)]
        return self.head(self.mlp(torch.cat([*embedded, numbers], dim=1))).squeeze(1)


def _step(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    categories, numbers, clicked = batch
    output = model(categories, numbers)
    loss = functional.binary_cross_entropy_with_logits(output, clicked)
    return {"loss": loss, "output": output, "target": clicked}


def _task() -> lrtune.Task:
    columns = _visits()
    return lrtune.Task(
        model=_Clicks,
        train=TensorDataset(*(column[:TRAIN] for column in columns)),
        val=TensorDataset(*(column[TRAIN:] for column in columns)),
        step=_step,
    )


CASE = Case(
    name="clicks-embeddings",
    task=_task,
    config={"batch_size": 256, "optimizer": {"name": "adagrad"}, "coarse": {"epochs": 5}},
    guess=1e-2,
)
