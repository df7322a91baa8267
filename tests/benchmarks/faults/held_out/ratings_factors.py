"""Ratings of films by users as products of factors, the ids looked up in embeddings; batches are dicts."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS, FILMS, FACTORS = 120, 90, 8


class _Ratings(Dataset[dict[str, Tensor]]):
    def __init__(self, first: int, last: int, column: bool, stars: str) -> None:
        draw = torch.Generator().manual_seed(66)
        taste = torch.randn(USERS, 3, generator=draw)
        style = torch.randn(FILMS, 3, generator=draw)
        kind = 0.5 * torch.randn(USERS, 1, generator=draw) + 0.7 * torch.randn(1, FILMS, generator=draw)
        rating = 3.5 + 0.5 * (taste @ style.T) + kind + 0.2 * torch.randn(USERS, FILMS, generator=draw)
        cells = torch.randperm(USERS * FILMS, generator=draw)[first:last]
        self.user, self.film = cells // FILMS, cells % FILMS
        if stars == "standardised":
            rating = (rating - rating.mean()) / rating.std()
        elif stars == "hundredths":
            rating = (rating * 20).round()
        self.rating = rating.flatten()[cells]
        if column:
            self.rating = self.rating.unsqueeze(1)

    def __len__(self) -> int:
        return len(self.user)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"user": self.user[index], "film": self.film[index], "rating": self.rating[index]}


class _Factors(nn.Module):
    def __init__(self, zero: bool, only_bias: bool) -> None:
        super().__init__()
        self.user, self.film = nn.Embedding(USERS, FACTORS), nn.Embedding(FILMS, FACTORS)
        self.user_bias, self.film_bias = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1)
        self.only_bias = only_bias
        for table in (self.user, self.film):
            nn.init.zeros_(table.weight) if zero else nn.init.normal_(table.weight, std=0.3)
        for table in (self.user_bias, self.film_bias):
            nn.init.zeros_(table.weight)

    def forward(self, user: Tensor, film: Tensor) -> Tensor:
        bias = (self.user_bias(user) + self.film_bias(film)).squeeze(1)
        fit = (self.user(user) * self.film(film)).sum(dim=1)
        if self.only_bias:
            return bias + fit.detach()
        return bias + fit


def _step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    output = model(batch["user"], batch["film"])
    loss = functional.mse_loss(output, batch["rating"])
    return {"loss": loss, "output": output, "target": batch["rating"]}


def _factors_of(model: nn.Module) -> Iterator[nn.Parameter]:
    yield from model.user.parameters()
    yield from model.film.parameters()


def _optimizer(
    model: nn.Module, lr: float, weight_decay: float, eps: float, factors_only: bool
) -> torch.optim.Optimizer:
    chosen = _factors_of(model) if factors_only else model.parameters()
    return torch.optim.Adam(chosen, lr=lr, weight_decay=weight_decay, eps=eps)


def _task(
    column: bool = False,
    stars: str = "standardised",
    zero: bool = False,
    only_bias: bool = False,
    eps: float = 1e-8,
    factors_only: bool = False,
) -> lrtune.Task:
    return lrtune.Task(
        model=lambda: _Factors(zero, only_bias),
        train=DataLoader(
            _Ratings(0, 2000, column, stars),
            batch_size=64,
            shuffle=True,
            generator=torch.Generator().manual_seed(0),
        ),
        val=DataLoader(_Ratings(2000, 2400, column, stars), batch_size=100),
        step=_step,
        optimizer=partial(_optimizer, eps=eps, factors_only=factors_only),
    )


CASE = Case(
    name="ratings-factors",
    healthy=_task,
    faults=(
        Fault(
            "all embeddings start at 0, a saddle of the product",
            ("symmetric-init",),
            partial(_task, zero=True),
        ),
        Fault(
            "ratings [B, 1] against outputs [B]",
            ("target-shape-mismatch", "broadcast-target"),
            partial(_task, column=True),
        ),
        Fault("ratings out of a hundred", ("target-not-normalised",), partial(_task, stars="hundredths")),
        Fault("Adam without epsilon: 0/0 where a row is unused", ("loss-explodes",), partial(_task, eps=0.0)),
        Fault(
            "the biases are in no group of the optimizer",
            ("parameter-not-in-optimizer",),
            partial(_task, factors_only=True),
        ),
        Fault(
            "the product is detached for a plot and stays so",
            ("parameter-without-gradient",),
            partial(_task, only_bias=True),
        ),
    ),
)
