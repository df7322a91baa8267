from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
import pytest
from optuna.distributions import FloatDistribution

from lrtune.study.in_space import InSpace
from lrtune.study.quiet import quiet
from lrtune.study.search import SAMPLERS

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler

NARROW = {
    "lr": FloatDistribution(0.01, 0.1, log=True),
    "weight_decay": FloatDistribution(1e-6, 1e-3, log=True),
}
WIDE = {**NARROW, "lr": FloatDistribution(0.01, 10.0, log=True)}


def study_of(sampler: BaseSampler) -> optuna.Study:
    """A study whose trials lie in the narrow space, more than any sampler begins with at random."""
    study = optuna.create_study(sampler=sampler)
    for at in range(12):
        params = {"lr": 0.01 * 10 ** (at / 11), "weight_decay": 10 ** (-6 + 3 * at / 11)}
        study.add_trial(
            optuna.create_trial(params=params, distributions=NARROW, value=abs(params["lr"] - 0.1))
        )
    return study


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_widened_range_is_drawn_from(name: str) -> None:
    """After a range was widened the sampler draws from all of it, and from nothing else."""
    with quiet():
        study = study_of(InSpace(SAMPLERS[name](0, 1), dict(WIDE)))
        drawn = []
        for _ in range(12):
            trial = study.ask()
            drawn.append(trial.suggest_float("lr", 0.01, 10.0, log=True))
            trial.suggest_float("weight_decay", 1e-6, 1e-3, log=True)
            study.tell(trial, abs(drawn[-1] - 1.0))
    assert max(drawn) > 0.1
    assert all(0.01 <= lr <= 10 for lr in drawn)


@pytest.mark.parametrize("name", ["tpe", "gp", "qmc"])
def test_parameters_stay_together(name: str) -> None:
    """In a widened range too a sampler draws all parameters at once, as left to itself it would not."""
    with quiet():
        told = study_of(InSpace(SAMPLERS[name](0, 1), dict(WIDE))).ask()
        alone = study_of(SAMPLERS[name](0, 1))
        first = alone.ask()
        first.suggest_float("lr", 0.01, 10.0, log=True)
        first.suggest_float("weight_decay", 1e-6, 1e-3, log=True)
        alone.tell(first, 1.0)
        second = alone.ask()
    assert told.relative_params.keys() == WIDE.keys()
    if name != "qmc":  # which goes by the study's first trial, and by its range
        assert second.relative_params.keys() == {"weight_decay"}
