"""Optuna's pruners, asked at the end of each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.pruners import BasePruner, MedianPruner, NopPruner, SuccessiveHalvingPruner

from lrtune.study.quiet import quiet

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.study.queue import TrialQueue
    from lrtune.study.trials import Taken

_STARTUP = 5  # complete trials before a median is one: Optuna's own default
_WARM_UP = (
    5  # no trial ends in the first fifth of its epochs, where high rates are ahead that others overtake
)
_SHARE = 3  # of a rung one in so many goes on: Li et al., "Hyperband" (2018), advise 3 or 4
_RUNGS = 2  # at a ninth and at a third of the epochs; an earlier one would judge the first steps

# By name: epochs -> pruner.
PRUNERS: dict[str, Callable[[int], BasePruner]] = {
    "none": lambda epochs: NopPruner(),
    "median": lambda epochs: MedianPruner(n_startup_trials=_STARTUP, n_warmup_steps=-(-epochs // _WARM_UP)),
    "halving": lambda epochs: SuccessiveHalvingPruner(
        min_resource=-(-epochs // _SHARE**_RUNGS), reduction_factor=_SHARE
    ),
}


class Reports:
    """Tells a study how its trials are doing, and is told which of them to end.

    Args:
        queue: The study.
        pruner: `median`, `halving` or `none`.
        epochs: Of a whole trial.
    """

    def __init__(self, queue: TrialQueue, pruner: str, epochs: int) -> None:
        self._queue = queue
        self._pruner = PRUNERS[pruner](epochs)
        self._patiently = queue.patiently

    def add(self, taken: Taken, epoch: int, loss: float) -> bool:
        """Report a trial's loss after an epoch; say whether the pruner would end it."""
        with quiet():
            return self._patiently(lambda: self._add(taken.trial_id, epoch, loss))

    def _add(self, trial_id: int, epoch: int, loss: float) -> bool:
        storage = self._queue.storage
        try:
            storage.set_trial_intermediate_value(trial_id, epoch, loss)
            return self._pruner.prune(self._queue.study, storage.get_trial(trial_id))
        except UpdateFinishedTrialError:  # given to another process, which thought this one dead
            return False
