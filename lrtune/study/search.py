"""One search as an Optuna study: trials are asked for in batches, trained elsewhere, and told."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.samplers import BaseSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState

from lrtune.random_state import mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from optuna.distributions import BaseDistribution

    from lrtune.study.space import Space

_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
_STARTUP = 8  # random settings before a model of the losses is used, the coarse grid's cells included
_DAMAGED = (
    "not a database",
    "malformed",
    "no such table",
    "no such column",
)  # SQLite's words; a lock is no damage
_ROW = "lrtune"  # user attribute of a trial that holds its row of the table


class StudyFileError(Exception):
    """The study's file is no study: damaged, or another program's."""


@dataclass(frozen=True)
class Asked:
    """A setting to train.

    Attributes:
        number: The trial's number in the study.
        lr: Learning rate.
        weight_decay: Weight decay.
    """

    number: int
    lr: float
    weight_decay: float


class Search:
    """An Optuna study that minimises the loss over a `Space`.

    Args:
        space: What is searched.
        path: A SQLite file for the study, or None to keep it in memory.
        name: Of the study; another name in the same file is another study.
        sampler: `tpe`, `gp`, `qmc` or `random`.
        seed: Of the sampler.

    Raises:
        StudyFileError: If the file cannot be read as a study.
    """

    def __init__(self, space: Space, path: str | None, name: str, sampler: str, seed: int) -> None:
        self._space = space
        self._sampler_name = sampler
        self._seed = seed
        self._open: dict[int, optuna.Trial] = {}
        with _quiet():
            try:
                self._study = optuna.create_study(
                    study_name=name,
                    storage=None if path is None else f"sqlite:///{path}",
                    load_if_exists=True,
                    direction="minimize",
                )
                self._fail_unfinished()
            except Exception as error:
                if path is None or not any(words in str(error) for words in _DAMAGED):
                    raise
                raise StudyFileError(str(error).splitlines()[0]) from error

    def _fail_unfinished(self) -> None:
        """Trials that were in training when the last process ended: their settings are asked for anew."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)
            self._study.enqueue_trial(trial.params)

    def suggest(self, cells: Sequence[tuple[float, float]]) -> None:
        """Put settings at the head of the queue, those that the study does not hold yet."""
        with _quiet():
            for lr, weight_decay in cells:
                self._study.enqueue_trial(self._space.parameters_of(lr, weight_decay), skip_if_exists=True)

    @property
    def told(self) -> list[dict[str, Any]]:
        """The rows of all trials that have been told."""
        trials = self._study.get_trials(deepcopy=False, states=_FINISHED)
        return [trial.user_attrs[_ROW] for trial in trials if _ROW in trial.user_attrs]

    def ask(self, count: int) -> list[Asked]:
        """Return settings to train next.

        The sampler is seeded by how many trials have been told: from the same results it draws the same settings.
        """
        space: dict[str, BaseDistribution] = {**self._space.distributions()}
        with _quiet():
            self._study.sampler = self._sampler()
            trials = [self._study.ask(space) for _ in range(count)]
        self._open |= {trial.number: trial for trial in trials}
        return [Asked(trial.number, *self._space.setting_of(trial.params)) for trial in trials]

    def tell(self, number: int, row: dict[str, Any], loss: float | None) -> None:
        """Record a trained trial; a loss of None (diverged or failed) fails the trial in Optuna's terms."""
        trial = self._open.pop(number)
        with _quiet():
            trial.set_user_attr(_ROW, row)
            if loss is None:
                self._study.tell(trial, state=TrialState.FAIL)
            else:
                self._study.tell(trial, loss)

    def give_back(self) -> None:
        """Return the settings that were asked for and not told, to be asked for again."""
        with _quiet():
            for trial in self._open.values():
                self._study.tell(trial, state=TrialState.FAIL)
                self._study.enqueue_trial(trial.params)
        self._open.clear()

    def _sampler(self) -> BaseSampler:
        return SAMPLERS[self._sampler_name](self._seed, mixed(self._seed, len(self.told)) % 2**32)


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


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's log lines, and warnings of features that are chosen on purpose, from the user."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        optuna.logging.set_verbosity(before)
