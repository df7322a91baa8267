from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import optuna
from optuna.trial import TrialState

from lrtune.study.journal import journal_storage
from lrtune.study.life import Alone, InAttributes, Pulse

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pytest


def test_who_misses_its_beats_is_dead(tmp_path: Path) -> None:
    """By the reader's own clock: a count that goes up is alive, one that stands for the grace is not."""
    storage = journal_storage(str(tmp_path / "log"))
    study = optuna.create_study(storage=storage)
    now = [0.0]
    worker = InAttributes(study, storage, 10)
    reader = InAttributes(study, storage, 10, lambda: now[0])
    trial = study.ask()
    worker.sign([trial._trial_id])
    worker.own(trial._trial_id)
    for at, beat in ((0, False), (9, True), (18, False)):
        now[0] = at
        if beat:
            worker.sign([trial._trial_id])
        reader.fail_orphans(set())
        assert study.trials[0].state == TrialState.RUNNING
    now[0] = 20  # the count has stood since 9
    reader.fail_orphans(set())
    assert study.trials[0].state == TrialState.FAIL


def test_a_trial_without_an_owner_is_an_orphan(tmp_path: Path) -> None:
    """A process that died between taking a trial and saying so has left it behind all the same."""
    storage = journal_storage(str(tmp_path / "log"))
    study = optuna.create_study(storage=storage)
    study.ask()
    now = [0.0]
    reader = InAttributes(study, storage, 10, lambda: now[0])
    reader.fail_orphans(set())
    now[0] = 11
    reader.fail_orphans(set())
    assert study.trials[0].state == TrialState.FAIL


def test_alone_everything_else_is_an_orphan() -> None:
    """Where one process works, what it does not train itself was left by a dead one."""
    study = optuna.create_study()
    one, other = study.ask(), study.ask()
    Alone(study, study._storage).fail_orphans({one._trial_id})
    assert [trial.state for trial in study.trials] == [TrialState.RUNNING, TrialState.FAIL]
    assert other.number == 1


class Listener:
    """Remembers the signs of life."""

    def __init__(self) -> None:
        self.signs: list[set[int]] = []

    def sign(self, trial_ids: Iterable[int]) -> None:
        """Remember, then fail as a storage that is away."""
        self.signs.append(set(trial_ids))
        raise OSError("away")

    def own(self, trial_id: int) -> None:
        """Not of interest."""

    def fail_orphans(self, mine: set[int]) -> None:
        """Not of interest."""


def test_a_pulse_beats_while_there_are_trials() -> None:
    """Signs of life come from a thread that survives a storage which is away, and ends with the last trial."""
    listener, before = Listener(), threading.active_count()
    missed: list[int] = []
    pulse = Pulse(listener, 0.01, lambda: missed.append(1))
    pulse.add(1)
    pulse.add(2)
    deadline = time.monotonic() + 20
    while len(listener.signs) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert listener.signs[-1] == {1, 2}
    assert missed
    pulse.remove(1)
    assert threading.active_count() == before + 1
    pulse.remove(2)
    assert threading.active_count() == before


def test_a_torn_line_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A line that a dying process left unfinished disturbs neither those who read nor those who write."""
    monkeypatch.chdir(tmp_path)
    study = optuna.create_study(storage=journal_storage("log"), study_name="a")
    study.add_trial(optuna.trial.create_trial(value=1.0))
    with (tmp_path / "log").open("a") as file:
        file.write('{"op_code":4,"worker_id"' + "x" * 9000)
    again = optuna.load_study(storage=journal_storage("log"), study_name="a")
    assert len(again.trials) == 1
    again.add_trial(optuna.trial.create_trial(value=2.0))
    study.add_trial(optuna.trial.create_trial(value=3.0))
    third = optuna.load_study(storage=journal_storage("log"), study_name="a")
    assert [trial.value for trial in third.trials] == [1.0, 2.0, 3.0]
