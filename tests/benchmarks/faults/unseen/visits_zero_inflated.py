"""Visits to a doctor: a zero-inflated negative binomial regression trained by a Lion of one's own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn.functional import logsigmoid
from torch.utils.data import Dataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable


class Patients(Dataset[dict[str, Tensor]]):
    """A survey: six answers, the years that a person was followed, and the visits counted in them.

    Args:
        first: The first person.
        last: The person after the last.
        missing: Whether incomes that were not given stay not-a-number.
        refused: Whether counts that were not given are coded -9.
        daily: Whether visits are divided by the days, as whole numbers.
    """

    def __init__(
        self, first: int, last: int, missing: bool = False, refused: bool = False, daily: bool = False
    ) -> None:
        rng, count = np.random.default_rng(61), 1500
        answers, years = rng.normal(size=(count, 6)), rng.uniform(0.5, 2.0, size=count)
        age, income, health, distance = answers[:, :4].T
        rate = np.exp(1.3 + 0.5 * age - 0.7 * health + 0.3 * age * health - 0.3 * distance.clip(0))
        visits = rng.poisson(rate * years * rng.gamma(8.0, 1 / 8.0, size=count))
        visits[rng.uniform(size=count) < 1 / (1 + np.exp(1.5 + 0.8 * income))] = 0
        unanswered = rng.uniform(size=count) < 0.05
        if missing:
            answers[unanswered, 1] = np.nan
        if refused:
            visits[unanswered] = -9
        if daily:
            visits = visits // (365 * years)
        self.answers, self.years, self.visits = (
            torch.tensor(column[first:last], dtype=torch.float32) for column in (answers, years, visits)
        )

    def __len__(self) -> int:
        return len(self.answers)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.answers[index], "years": self.years[index], "visits": self.visits[index]}


class VisitModel(nn.Module):
    """A perceptron for the logit of never going and the logarithm of the rate, and one dispersion for all.

    Args:
        split: How the two outputs are taken apart: `columns` or `view`.
        registered: Whether the dispersion is a parameter.
        start: Where the logarithm of the rate starts.
    """

    def __init__(self, split: str = "columns", registered: bool = True, start: float = 1.25) -> None:
        super().__init__()
        self.split = split
        self.network = nn.Sequential(
            nn.Linear(6, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU(), nn.Linear(48, 2)
        )
        with torch.no_grad():
            self.network[-1].bias.copy_(torch.tensor([0.0, start]))
        if registered:
            self.log_dispersion = nn.Parameter(torch.zeros(1))
        else:
            self.log_dispersion = torch.zeros(1, requires_grad=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map answers `[batch, 6]` to logits `[batch]`, log rates `[batch]` and the log dispersion."""
        outputs = self.network(x)
        never, log_rate = outputs.view(2, -1) if self.split == "view" else outputs.unbind(dim=1)
        return never, log_rate, self.log_dispersion


def negative_log_likelihood(never: Tensor, mean: Tensor, size: Tensor, visits: Tensor) -> Tensor:
    """Return the mean of minus the logarithm of the zero-inflated negative binomial probability."""
    log_zero = size * (size.log() - (size + mean).log())
    log_count = (
        torch.lgamma(visits + size)
        - torch.lgamma(size)
        - torch.lgamma(visits + 1)
        + log_zero
        + visits * (mean.log() - (size + mean).log())
    )
    positive = logsigmoid(-never) + log_count
    zero = torch.logaddexp(logsigmoid(never), logsigmoid(-never) + log_zero)
    return -torch.where(visits == 0, zero, positive).mean()


def step(model: nn.Module, batch: dict[str, Tensor], link: str = "exp") -> dict[str, Tensor]:
    """Score the counts of a batch.

    Args:
        model: Of the visits.
        batch: Of patients.
        link: `exp`, or `identity`, where the network's output itself is the rate.
    """
    never, log_rate, log_dispersion = model(batch["x"])
    rate = log_rate.exp() if link == "exp" else log_rate
    mean = rate * batch["years"]
    loss = negative_log_likelihood(never, mean, log_dispersion.exp(), batch["visits"])
    return {"loss": loss, "output": mean, "target": batch["visits"]}


class Lion(torch.optim.Optimizer):
    """The sign of an interpolated momentum (Chen et al. 2023).

    Args:
        parameters: To be optimised.
        lr: The size of each step.
        weight_decay: Decoupled, as in AdamW.
        in_place: Whether the parameters themselves are changed.
    """

    def __init__(self, parameters: Any, lr: float, weight_decay: float, in_place: bool = True) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})
        self.in_place = in_place

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take one step."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                momentum = self.state[p].setdefault("momentum", torch.zeros_like(p))
                update = (0.9 * momentum + 0.1 * p.grad).sign() + group["weight_decay"] * p
                momentum.lerp_(p.grad, 0.01)
                if self.in_place:
                    p -= group["lr"] * update
                else:
                    p = p - group["lr"] * update
        return loss


def make_lion(
    model: nn.Module, learning_rate: float, weight_decay: float, in_place: bool = True
) -> torch.optim.Optimizer:
    """Build the optimizer."""
    return Lion(model.parameters(), lr=learning_rate, weight_decay=weight_decay, in_place=in_place)


def make_task(
    link: str = "exp", in_place: bool = True, network: dict[str, Any] | None = None, **data: bool
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: VisitModel(**(network or {})),
        train=Patients(0, 1250, **data),
        val=Patients(1250, 1500, **data),
        step=functools.partial(step, link=link),
        optimizer=functools.partial(make_lion, in_place=in_place),
    )


CASE = Case(
    name="visits-zero-inflated",
    healthy=make_task,
    faults=(
        Fault(
            "incomes that were not given are not-a-number",
            ("nonfinite-input",),
            functools.partial(make_task, missing=True),
        ),
        Fault(
            "output [batch, 2] viewed as [2, batch]",
            ("batch-mixing",),
            functools.partial(make_task, network={"split": "view"}),
        ),
        Fault(
            "the logarithm of a rate that the network may make negative",
            ("nonfinite-loss",),
            functools.partial(make_task, link="identity", network={"start": 0.0}),
        ),
        Fault(
            "refused answers coded -9 among the counts",
            ("target-out-of-range",),
            functools.partial(make_task, refused=True),
        ),
        Fault(
            "the dispersion a plain tensor of the model",
            ("unregistered-parameter",),
            functools.partial(make_task, network={"registered": False}),
        ),
        Fault(
            "visits by day in whole numbers, which are 0",
            ("constant-target",),
            functools.partial(make_task, daily=True),
        ),
        Fault(
            "an optimizer that gives the name of a parameter to a new tensor",
            ("optimizer-does-not-step",),
            functools.partial(make_task, in_place=False),
        ),
    ),
)
