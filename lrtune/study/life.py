"""Signs of life of those who train, and which trials are left behind by the dead."""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from typing import TYPE_CHECKING, Protocol

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from lrtune.study.quiet import quiet
from lrtune.study.trials import GIVEN_BACK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from lrtune.study.place import StudyPlace

_OWNER = "lrtune:worker"  # user attribute of a trial
_BEAT = "lrtune:beat:"  # and a worker's name: user attribute of a study, a count that goes up


class Life(Protocol):
    """How processes that share a study know of each other."""

    def sign(self, trial_ids: Iterable[int]) -> None:
        """Say that this process is alive and trains these trials."""

    def own(self, trial_id: int) -> None:
        """Say, right after a trial was taken, that it is this process's."""

    def fail_orphans(self, mine: set[int]) -> None:
        """Fail the trials in training whose process is dead; `mine` are this process's own."""


class Alone:
    """Nobody else writes here: whatever was in training when the study was opened is an orphan.

    Args:
        study: The study.
        storage: Its storage.
    """

    def __init__(self, study: optuna.Study, storage: BaseStorage) -> None:
        self._study = study
        self._storage = storage

    def sign(self, trial_ids: Iterable[int]) -> None:
        """See `Life.sign`; nobody listens."""

    def own(self, trial_id: int) -> None:
        """See `Life.own`; nobody listens."""

    def fail_orphans(self, mine: set[int]) -> None:
        """See `Life.fail_orphans`."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            if trial._trial_id not in mine:
                fail(self._storage, trial._trial_id)


class InDatabase:
    """Optuna's own heartbeats, timed by the database's clock.

    Args:
        study: The study.
        storage: Its storage.
    """

    def __init__(self, study: optuna.Study, storage: RDBStorage) -> None:
        self._study = study
        self._storage = storage

    def sign(self, trial_ids: Iterable[int]) -> None:
        """See `Life.sign`."""
        try:
            for trial_id in trial_ids:
                self._storage.record_heartbeat(trial_id)
        finally:
            self._storage.remove_session()  # each thread has its own; one that ends leaves none open

    def own(self, trial_id: int) -> None:
        """See `Life.own`; the heartbeat of before the trial was taken says it."""

    def fail_orphans(self, mine: set[int]) -> None:
        """See `Life.fail_orphans`."""
        with quiet():
            optuna.storages.fail_stale_trials(self._study)


class InAttributes:
    """A count in the study's attributes, a worker each, for storages without heartbeats.

    Whether it goes up is timed by the reader's own clock: clocks of several machines need not agree.

    Args:
        study: The study.
        storage: Its storage.
        grace: Seconds in which a count must go up.
        clock: Tells seconds.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._storage = storage
        self._grace = grace
        self._clock = clock
        self._name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:6]}"
        self._count = 0
        self._seen: dict[
            int, tuple[object, float]
        ] = {}  # by trial: its sign of life, and since when it is that

    def sign(self, trial_ids: Iterable[int]) -> None:
        """See `Life.sign`; one count stands for all of a worker's trials."""
        self._count += 1
        self._study.set_user_attr(_BEAT + self._name, self._count)

    def own(self, trial_id: int) -> None:
        """See `Life.own`."""
        self._storage.set_trial_user_attr(trial_id, _OWNER, self._name)

    def fail_orphans(self, mine: set[int]) -> None:
        """See `Life.fail_orphans`."""
        running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        beats = self._study.user_attrs
        seen = {}
        for trial in (one for one in running if one._trial_id not in mine):
            life = self._life_of(trial, beats)
            before = self._seen.get(trial._trial_id)
            since = before[1] if before is not None and before[0] == life else self._clock()
            if self._clock() - since > self._grace:
                fail(self._storage, trial._trial_id)
            else:
                seen[trial._trial_id] = (life, since)
        self._seen = seen

    @staticmethod
    def _life_of(trial: FrozenTrial, beats: dict[str, object]) -> object:
        owner = trial.user_attrs.get(_OWNER)
        return owner, beats.get(f"{_BEAT}{owner}")


def life_in(place: StudyPlace, study: optuna.Study, storage: BaseStorage) -> Life:
    """Return how processes know of each other in a place."""
    if not place.shared:
        return Alone(study, storage)
    if isinstance(storage, RDBStorage):
        return InDatabase(study, storage)
    return InAttributes(study, storage, place.grace)


def fail(storage: BaseStorage, trial_id: int) -> None:
    """End a trial without a result; one that another process has ended stays as it is."""
    try:
        storage.set_trial_state_values(trial_id, TrialState.FAIL)
    except UpdateFinishedTrialError:
        return


def give_up(storage: BaseStorage, trial_id: int) -> None:
    """End a trial without a row, in good order: whoever wants it enqueues it again."""
    try:
        storage.set_trial_user_attr(trial_id, GIVEN_BACK, True)
    except UpdateFinishedTrialError:
        return
    fail(storage, trial_id)


class Pulse:
    """Gives signs of life while a process trains, from a thread of its own.

    Args:
        life: Where to.
        interval: Seconds between two.
        missed: Told each time that one could not be given.
    """

    def __init__(self, life: Life, interval: float, missed: Callable[[], object] = lambda: None) -> None:
        self._life = life
        self._missed = missed
        self._interval = interval
        self._trials: set[int] = set()
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, trial_id: int) -> None:
        """Keep a trial alive from now on."""
        self._trials = {*self._trials, trial_id}
        if self._thread is None:
            self._stopped = threading.Event()
            self._thread = threading.Thread(target=self._beat, args=(self._stopped,), daemon=True)
            self._thread.start()

    def remove(self, trial_id: int) -> None:
        """Let a trial go; with the last one the thread ends."""
        self._trials = self._trials - {trial_id}
        if not self._trials:
            self.stop()

    def stop(self) -> None:
        """End the thread."""
        if self._thread is not None:
            self._stopped.set()
            self._thread.join()
            self._thread = None

    def _beat(self, stopped: threading.Event) -> None:
        while not stopped.wait(self._interval):
            try:
                self._life.sign(self._trials)
            except Exception:  # whoever trains will hear of a storage that stays away; a beat is only missed
                self._missed()
