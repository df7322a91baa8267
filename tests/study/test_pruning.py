from __future__ import annotations

import pytest

from lrtune.study.place import StudyPlace
from lrtune.study.pruning import PRUNERS, Reports
from lrtune.study.queue import TrialQueue
from lrtune.study.search import Asked, Search
from lrtune.study.space import Space

EPOCHS = 9


class Reporting:
    """A search whose trials report, and are told as complete at once."""

    def __init__(self, pruner: str) -> None:
        self.queue = TrialQueue(StudyPlace(None, "refine"))
        self.search = Search(self.queue, Space(0.01, 1.0, 0.0, 0.0), "random", 0)
        self.wanted = self.search.wanted(20, [])
        self.reports = Reports(self.queue, pruner, EPOCHS)

    def take(self) -> Asked:
        """Take the next trial."""
        told = self.queue.told()
        missing = [one for one in self.wanted if one.identity not in told]
        self.queue.ensure(missing, 1)
        return self.search.draw(self.queue.take(1, missing))[0]

    def ended_after(self, loss: float) -> int:
        """Train a trial that has the same loss after each epoch; return when it ended."""
        one = self.take()
        for epoch in range(1, EPOCHS + 1):
            if self.reports.add(one.taken, epoch, loss):
                self.queue.tell(one.taken, {"state": "pruned", "curve": "c"}, None, {})
                return epoch
        self.queue.tell(one.taken, {"state": "complete", "curve": "c"}, loss, {EPOCHS: loss})
        return EPOCHS


def test_no_pruner_ends_nothing() -> None:
    """Without a pruner the worst trial goes on."""
    made = Reporting("none")
    assert [made.ended_after(float(loss)) for loss in range(8)] == [EPOCHS] * 8


def test_the_median() -> None:
    """After five complete trials one above their median ends, not before a fifth of the epochs; one below goes on."""
    made = Reporting("median")
    assert [made.ended_after(loss) for loss in (1.0, 2.0, 3.0, 4.0, 5.0)] == [EPOCHS] * 5
    assert made.ended_after(3.5) == 2
    assert made.ended_after(2.5) == EPOCHS


def test_halving() -> None:
    """At a ninth and at a third of the epochs the best third goes on."""
    made = Reporting("halving")
    assert made.ended_after(1.0) == EPOCHS  # the first has nobody to lose against
    assert made.ended_after(2.0) == 1
    assert made.ended_after(0.5) == EPOCHS
    assert made.ended_after(0.7) == 1


def test_what_pruned_trials_reported_is_in_the_study() -> None:
    """A pruned trial is one in Optuna's own words, with its losses after each epoch."""
    made = Reporting("halving")
    made.ended_after(1.0)
    made.ended_after(2.0)
    trial = made.queue.study.get_trials()[1]
    assert trial.state.name == "PRUNED"
    assert trial.intermediate_values == {1: 2.0}


@pytest.mark.parametrize("pruner", PRUNERS)
def test_a_trial_that_another_has_ended_is_not_reported(pruner: str) -> None:
    """Reports of a trial that was given to another process are dropped, and end nothing."""
    made = Reporting(pruner)
    one = made.take()
    made.queue.tell(one.taken, {"state": "complete", "curve": "c"}, 1.0, {})
    assert made.reports.add(one.taken, 1, 99.0) is False
