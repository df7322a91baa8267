"""Ratings of films: embeddings of users and films with biases, batches as dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn

import lrtune

if TYPE_CHECKING:
    from collections.abc import Iterator

USERS = 60
FILMS = 50


class Ratings:
    """Batches of users, films and standardised ratings, shuffled anew in each epoch."""

    def __init__(self, size: int = 64, bug: str = "") -> None:
        draw = torch.Generator().manual_seed(151)
        taste, kind = torch.randn(USERS, 3, generator=draw), torch.randn(FILMS, 3, generator=draw)
        mood, fame = torch.randn(USERS, 1, generator=draw), torch.randn(FILMS, generator=draw)
        ratings = taste @ kind.T + 0.7 * (mood + fame) + 0.3 * torch.randn(USERS, FILMS, generator=draw)
        seen = torch.randperm(USERS * FILMS, generator=draw)[:1600]
        self.users, self.films = seen // FILMS, seen % FILMS
        self.ratings = ratings.flatten()[seen]
        self.ratings = (self.ratings - self.ratings.mean()) / self.ratings.std()
        if bug == "best first":
            order = self.ratings.argsort(descending=True)
            self.users, self.films, self.ratings = self.users[order], self.films[order], self.ratings[order]
        if bug == "few buckets":
            self.users, self.films = self.users % 4, self.films % 4
        if bug == "column":
            self.ratings = self.ratings.unsqueeze(1)
        self.size, self.shuffle = size, bug != "best first"
        self.draw = torch.Generator().manual_seed(152)

    def __len__(self) -> int:
        return len(self.ratings) // self.size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        rows = torch.arange(len(self.ratings))
        if self.shuffle:
            rows = rows[torch.randperm(len(rows), generator=self.draw)]
        for chosen in rows.split(self.size)[: len(self)]:
            yield {
                "user": self.users[chosen],
                "film": self.films[chosen],
                "rating": self.ratings[chosen],
            }


class Match(torch.autograd.Function):
    """Products of the rows of two matrices, with the two gradients mixed up."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:
        """Return the products."""
        ctx.save_for_backward(a, b)
        return (a * b).sum(dim=-1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        """Return for each matrix what belongs to the other."""
        a, b = ctx.saved_tensors
        return grad.unsqueeze(-1) * a, grad.unsqueeze(-1) * b


class Factors(nn.Module):
    """The product of two embeddings, plus how kind the user and how good the film is."""

    def __init__(self, width: int = 16, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.user, self.film = nn.Embedding(USERS, width), nn.Embedding(FILMS, width)
        self.user_bias, self.film_bias = nn.Embedding(USERS, 1), nn.Embedding(FILMS, 1)
        for embedding in (self.user, self.film):
            if bug == "constant":
                nn.init.constant_(embedding.weight, 0.1)
            else:
                nn.init.normal_(embedding.weight, std=3.0 if bug == "wide" else 0.3)
        for embedding in (self.user_bias, self.film_bias):
            nn.init.zeros_(embedding.weight)

    def forward(self, user: Tensor, film: Tensor) -> Tensor:
        """Map users `[batch]` and films `[batch]` to ratings `[batch]`."""
        tastes = self.film(film) if self.bug == "film twice" else self.user(user)
        if self.bug == "own product":
            match = Match.apply(tastes, self.film(film))
        else:
            match = (tastes * self.film(film)).sum(dim=-1)
        return match + (self.user_bias(user) + self.film_bias(film)).squeeze(-1)


def rate(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Score the ratings of a batch."""
    guess = model(batch["user"], batch["film"])
    loss = torch.mean((guess - batch["rating"]) ** 2)
    return {"loss": loss, "output": guess, "target": batch["rating"]}


def make_task(bug: str = "", data_bug: str = "", films_only: bool = False) -> lrtune.Task:
    """Describe the training."""

    def optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        groups = [{"params": [*model.film.parameters(), *model.film_bias.parameters()]}]
        if not films_only:
            groups.append({"params": [*model.user.parameters(), *model.user_bias.parameters()]})
        return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay)

    return lrtune.Task(
        model=lambda: Factors(bug=bug), train=Ratings(bug=data_bug), step=rate, optimizer=optimizer
    )


CASE = Case(
    name="film recommender",
    healthy=make_task,
    faults=(
        Fault(
            "ratings a column, guesses a row",
            ("target-shape-mismatch", "broadcast-target"),
            lambda: make_task(data_bug="column"),
        ),
        Fault("all embeddings equal", ("symmetric-init",), lambda: make_task("constant")),
        Fault("gradients of a product mixed up", ("wrong-gradient",), lambda: make_task("own product")),
        Fault("wide embeddings", ("initial-loss-high",), lambda: make_task("wide")),
        Fault(
            "film looked up instead of the user",
            ("parameter-without-gradient",),
            lambda: make_task("film twice"),
        ),
        Fault("best ratings first", ("unshuffled-batches",), lambda: make_task(data_bug="best first")),
        Fault(
            "users and films hashed into four buckets",
            ("conflicting-labels",),
            lambda: make_task(data_bug="few buckets"),
        ),
        Fault(
            "films alone in the optimizer",
            ("parameter-not-in-optimizer",),
            lambda: make_task(films_only=True),
        ),
    ),
)
