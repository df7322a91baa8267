"""Ratings of films as products of factors; a batch touches few of the rows, so SGD needs a rate above 1."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

USERS, FILMS, FACTORS = 250, 160, 12
TRAIN, VAL = 8000, 1000


def _ratings() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(6)
    taste, style = torch.randn(USERS, 3, generator=draw), torch.randn(FILMS, 3, generator=draw)
    mood, fame = torch.randn(USERS, 1, generator=draw), torch.randn(1, FILMS, generator=draw)
    rating = 0.5 * (taste @ style.T) + 0.5 * mood + 0.7 * fame
    rating = rating + 0.3 * torch.randn(USERS, FILMS, generator=draw)
    cells = torch.randperm(USERS * FILMS, generator=draw)[: TRAIN + VAL]
    rating = rating.flatten()[cells]
    return cells // FILMS, cells % FILMS, (rating - rating.mean()) / rating.std()


class _Factors(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, FACTORS), nn.Embedding(FILMS, FACTORS)
        self.user_bias, self.film_bias = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1)
        for factors in (self.user, self.film):
            nn.init.normal_(factors.weight, std=0.2)
        for bias in (self.user_bias, self.film_bias):
            nn.init.zeros_(bias.weight)

    def forward(self, user: Tensor, film: Tensor) -> Tensor:
        bias = (self.user_bias(user) + self.film_bias(film)).squeeze(1)
        return bias + (self.user(user) * self.film(film)).sum(dim=1)


def _step(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    user, film, rating = batch
    output = model(user, film)
    return {"loss": functional.mse_loss(output, rating), "output": output, "target": rating}


def _task() -> lrtune.Task:
    columns = _ratings()
    return lrtune.Task(
        model=_Factors,
        train=TensorDataset(*(column[:TRAIN] for column in columns)),
        val=TensorDataset(*(column[TRAIN:] for column in columns)),
        step=_step,
    )


CASE = Case(
    name="ratings-factors",
    task=_task,
    config={"batch_size": 64, "optimizer": {"name": "sgd"}, "coarse": {"epochs": 4}},
    guess=0.1,
)
