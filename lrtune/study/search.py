"""A search over a `Space` as an Optuna study: its trials are known by number, their settings drawn when taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler

from lrtune.random_state import mixed
from lrtune.study.in_space import InSpace
from lrtune.study.quiet import quiet
from lrtune.study.trials import Wanted

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.study.queue import TrialQueue
    from lrtune.study.space import Space
    from lrtune.study.trials import Taken

_STARTUP = 8  # random settings before a model of the losses is used, the coarse grid's cells included


@dataclass(frozen=True)
class Asked:
    """A setting to train.

    Attributes:
        taken: The trial.
        lr: Learning rate.
        weight_decay: Weight decay.
    """

    taken: Taken
    lr: float
    weight_decay: float


class Search:
    """Draws the settings of a queue's trials.

    Args:
        queue: The study.
        space: What is searched.
        sampler: `tpe`, `gp`, `qmc` or `random`.
        seed: Of the sampler.
    """

    def __init__(self, queue: TrialQueue, space: Space, sampler: str, seed: int) -> None:
        self._queue = queue
        self._space = space
        self._sampler = SAMPLERS[sampler]
        self._seed = seed
        self._patiently = queue.patiently

    def wanted(self, trials: int, cells: Sequence[tuple[float, float]]) -> list[Wanted]:
        """Return the search's trials, the first of which train given cells.

        Args:
            trials: How many.
            cells: Learning rates and weight decays.
        """
        given = [self._space.parameters_of(*cell) for cell in cells]
        return [Wanted(f"trial {at}", given[at] if at < len(given) else {}) for at in range(trials)]

    def draw(self, taken: Sequence[Taken]) -> list[Asked]:
        """Return the settings of trials, drawn where they are not given.

        The sampler is seeded by the first trial's place in the search: from the same results it draws the same, and
        two workers that begin together draw different settings.
        """
        if not taken:
            return []
        with quiet():
            now = mixed(self._seed, place_of(taken[0].identity)) % 2**32
            self._queue.study.sampler = InSpace(
                self._sampler(self._seed, now), dict(self._space.distributions())
            )
            return [self._patiently(lambda one=one: self._drawn(one)) for one in taken]  # type: ignore[misc]

    def _drawn(self, taken: Taken) -> Asked:
        # What `Study.ask` does: a sampler that went by the trials of the last time would not see those told since.
        self._queue.study._thread_local.cached_all_trials = None
        trial = optuna.Trial(self._queue.study, taken.trial_id)
        values = {
            name: trial.suggest_float(name, axis.low, axis.high, log=axis.log)
            for name, axis in self._space.distributions().items()
        }
        return Asked(taken, *self._space.setting_of(values))


def place_of(identity: str) -> int:
    """Return a trial's place in its search: 7 for `trial 7`."""
    return int(identity.rsplit(" ", 1)[1])


def _tpe(seed: int, now: int) -> BaseSampler:
    # constant_liar: trials asked for in one batch count as bad until told, so that they spread out.
    return TPESampler(seed=now, multivariate=True, constant_liar=True, n_startup_trials=_STARTUP)


# By name: (the search's seed, a seed of this moment) -> sampler.
SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "tpe": _tpe,
    "gp": lambda seed, now: GPSampler(seed=now, n_startup_trials=_STARTUP),
    "qmc": lambda seed, now: QMCSampler(
        seed=seed, scramble=True
    ),  # one sequence: its place in it is in the study
    "random": lambda seed, now: RandomSampler(seed=now),
}
