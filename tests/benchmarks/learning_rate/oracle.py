"""How good each rate of a dense grid really is: trained to the horizon, over several seeds."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.learning_rate.case import Case

RATES = tuple(10 ** (quarter / 4) for quarter in range(-24, 7))  # a quarter of a decade apart, 1e-6 to 32
SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Oracle:
    """The true losses.

    Attributes:
        initial: Validation loss before training, the mean over seeds.
        losses: Validation loss at the horizon by rate, the mean over seeds; a diverged run counts as the initial loss,
            and so does one that ends above it.
        steps: Gradient steps of the horizon.
    """

    initial: float
    losses: tuple[float, ...]
    steps: int

    @property
    def best(self) -> float:
        """The best rate of the grid."""
        return RATES[int(np.argmin(self.losses))]

    def regret(self, rate: float | None) -> float:
        """Return (L(rate) - L_best) / (L_init - L_best); 1 where there is no rate.

        Between the grid's rates the loss is interpolated over log rate by monotone cubics (PCHIP), which bend at the
        bottom of a valley as losses do; straight lines would blame every rate that is not one of the grid's. Rates
        outside the grid count as its ends.
        """
        if rate is None or not rate > 0 or math.isinf(rate):
            return 1.0
        inside = min(max(rate, RATES[0]), RATES[-1])
        loss = float(PchipInterpolator(np.log(RATES), self.losses)(math.log(inside)))
        least = min(self.losses)
        return (loss - least) / (self.initial - least)


def measure(case: Case) -> Oracle:
    """Train at every rate on every seed, without weight decay, for the coarse grid's epochs."""
    from lrtune.config import Config
    from lrtune.population.protocol import Member
    from lrtune.population.training import train_members
    from lrtune.progress import Silent
    from lrtune.steps.context import open_context
    from lrtune.task_file import load_function

    config = Config(device="cpu", **case.config)
    context = open_context(case.task(), config, Silent(), lambda name, role: load_function(name, role, None))
    members = [Member(rate, 0.0, seed, seed) for rate in RATES for seed in SEEDS]
    runs = train_members(context.planner, members, context.data, config.coarse.epochs)
    initial: list[float] = []
    last: dict[float, list[float]] = {rate: [] for rate in RATES}
    for run in runs:
        rows = run.curve.evaluations
        before, after = float(rows[0]["val_loss"] or 0.0), rows[-1]["val_loss"]
        initial.append(before)
        failed = run.diverged or run.failure is not None or after is None
        last[run.member.learning_rate].append(before if failed else min(before, float(after or 0.0)))
    steps = config.coarse.epochs * context.data.train.counted()
    return Oracle(float(np.mean(initial)), tuple(float(np.mean(last[rate])) for rate in RATES), steps)


def to_json(oracle: Oracle) -> dict[str, Any]:
    """Return plain values."""
    return {"initial": oracle.initial, "losses": list(oracle.losses), "steps": oracle.steps}


def from_json(values: Mapping[str, Any]) -> Oracle:
    """Return the oracle that `to_json` wrote."""
    return Oracle(float(values["initial"]), tuple(values["losses"]), int(values["steps"]))
