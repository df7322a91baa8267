"""Which loans default, from embedded categories and skewed amounts, in large batches by Adagrad."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

SIZES = (12, 80, 40)  # purpose, district, employer
LOANS, TRAIN = 17000, 15360


def _loans() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(28)
    categories = torch.stack([torch.randint(size, (LOANS,), generator=draw) for size in SIZES], dim=1)
    logs = torch.randn(LOANS, 6, generator=draw)
    income, amount = logs[:, 0], logs[:, 1]
    risk = [torch.randn(size, generator=draw)[categories[:, at]] for at, size in enumerate(SIZES)]
    score = 1.5 * (amount - income) + risk[0] * logs[:, 2] + risk[1] + 0.8 * risk[2] * (income > 0) - 1.2
    amounts = logs.exp()
    amounts = (amounts - amounts.mean(dim=0)) / amounts.std(dim=0)
    return categories, amounts, torch.bernoulli(score.sigmoid(), generator=draw)


class _Loans(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(size, 6) for size in SIZES)
        self.mlp = nn.Sequential(
            nn.Linear(6 * len(SIZES) + 6, 64), nn.LayerNorm(64), nn.ReLU(), nn.Linear(64, 48), nn.ReLU()
        )
        self.head = nn.Linear(48, 1)

    def forward(self, categories: Tensor, amounts: Tensor) -> Tensor:
        embedded = [table(column) for table, column in zip(self.tables, categories.unbind(1), strict=True)]
        return self.head(self.mlp(torch.cat([*embedded, amounts], dim=1))).squeeze(1)


def _step(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    categories, amounts, defaulted = batch
    output = model(categories, amounts)
    loss = functional.binary_cross_entropy_with_logits(output, defaulted)
    return {"loss": loss, "output": output, "target": defaulted}


def _task() -> lrtune.Task:
    columns = _loans()
    return lrtune.Task(
        model=_Loans,
        train=TensorDataset(*(column[:TRAIN] for column in columns)),
        val=TensorDataset(*(column[TRAIN:] for column in columns)),
        step=_step,
    )


CASE = Case(
    name="loans-embeddings",
    task=_task,
    config={"batch_size": 512, "optimizer": {"name": "adagrad"}, "coarse": {"epochs": 5}},
    guess=1e-2,
)
