"""Trials that end early, as the study's pruner says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.study.search import place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.training import Run
    from lrtune.study.pruning import Reports
    from lrtune.study.search import Asked


class Pruning:
    """Ends trials as the study's pruner says.

    The search's first trial is spared: every other is compared with it, the coarse grid's best cell.

    Args:
        reports: To the study.
        asked: The trials that are trained side by side.
    """

    def __init__(self, reports: Reports, asked: Sequence[Asked]) -> None:
        self._reports = reports
        self._asked = list(asked)

    def losing(self, runs: Sequence[Run], epoch: int, epochs: int) -> list[Run]:
        """See `Selection.losing`."""
        waiting, behind = list(self._asked), []
        for run in runs:
            one, loss = asked_of(run, waiting), run.curve.loss_after(epoch)
            waiting.remove(one)
            if loss is not None and self._reports.add(one.taken, epoch, loss):
                behind += [run] if place_of(one.taken.identity) > 0 else []
        return behind


def asked_of(run: Run, asked: Sequence[Asked]) -> Asked:
    """Return the setting that a training is of; equal ones have equal trainings."""
    setting = (run.member.learning_rate, run.member.weight_decay)
    return next(one for one in asked if (one.lr, one.weight_decay) == setting)
