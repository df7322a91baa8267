"""A study whose trials are known beforehand: each has an identity, and each is trained exactly once.

All that processes say to each other stands in Optuna's own trial states and attributes:

- Whoever finds that an identity has no living trial enqueues one (`WAITING`). Where two do, the trial with the lower
  number counts; the other is dropped when its turn comes.
- A trial is taken by turning `WAITING` into `RUNNING`, which Optuna's storages grant to one process alone.
- A trial told has its row as an attribute and a final state. One that ended without a row was given up, by a process
  that was interrupted or died: its identity has no living trial any more, and is enqueued again, with the parameters
  that were drawn for it. Where that process was only out of reach, the first of the two that tells its row counts.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from lrtune.storage import StorageError
from lrtune.study.connection import Connection
from lrtune.study.life import Pulse, give_up, life_in
from lrtune.study.quiet import quiet
from lrtune.study.telling import Telling, tell
from lrtune.study.trials import (
    CURVE,
    DIGEST,
    IDENTITY,
    Taken,
    Told,
    Wanted,
    deaths_of,
    living,
    row_of,
)
from lrtune.study.waiting import adopt, enqueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import optuna
    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from lrtune.study.patience import Patience
    from lrtune.study.place import StudyPlace

_SET_ASIDE = "lrtune:set aside:"  # user attribute of a study, with a number: this trial is to be trained anew
_SUSPECT = 2  # processes that have died with a trial before it is trained alone
DEADLY = 3  # and before it is given up, where others go on: it may be what kills them


class TrialQueue:
    """The trials of one study; see the module for how processes share them.

    Args:
        place: Where the study is kept.
        create: Whether to make it; else it must be there.

    Raises:
        StudyFileError: If the file of this process alone is no study.
        NoStudyError: If it is not there and is not to be made.
        StorageError: If the storage refuses us, or stays away.
    """

    def __init__(self, place: StudyPlace, create: bool = True) -> None:
        self._mine: dict[int, Taken] = {}
        self._connection = Connection(place, create, self._begin)

    def _begin(self, connection: Connection) -> None:
        place = connection.place
        self._life = life_in(place, connection.study, connection.storage)
        self._pulse = Pulse(self._life, place.heartbeat, connection.patiently.missed)
        if not place.shared:
            self._life.fail_orphans(set())

    @property
    def place(self) -> StudyPlace:
        """Where the study is kept."""
        return self._connection.place

    @property
    def patiently(self) -> Patience:
        """Calls what uses the storage, and waits while it is away."""
        return self._connection.patiently

    @property
    def study(self) -> optuna.Study:
        """Optuna's study."""
        return self._connection.study

    @property
    def storage(self) -> BaseStorage:
        """Optuna's storage of the study."""
        return self._connection.storage

    @property
    def setup(self) -> dict[str, Any] | None:
        """What the study is of, as plain values; None before anyone has said."""
        return self._connection.setup

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Say what the study is of."""
        self._connection.set_up(setup)

    def close(self) -> None:
        """Let go of the storage; trials that are not told are given back before.

        Where the storage is away they are not, and others find after a while that nobody trains them.
        """
        self.patiently.hurry()
        try:
            with suppress(StorageError):
                self.give_back()
        finally:
            self._pulse.stop()
            self._connection.close()

    # --- what is there --------------------------------------------------------------------------------------------

    def told(self) -> dict[str, Told]:
        """Return what has been trained, by identity."""
        with quiet():
            trials, set_aside = self.patiently(self._look)
        told: dict[str, Told] = {}
        for trial in trials:
            row = row_of(trial, set_aside)
            if row is not None and trial.user_attrs[IDENTITY] not in told:
                attrs = trial.user_attrs
                told[attrs[IDENTITY]] = Told(row, attrs.get(CURVE), trial.number, attrs.get(DIGEST))
        return told

    def set_aside(self, numbers: Iterable[int]) -> None:
        """Have trials trained anew, whatever they have told."""
        for number in numbers:  # each an attribute of its own: two processes do not write over each other
            self.patiently(partial(self.study.set_user_attr, f"{_SET_ASIDE}{number}", True))

    def ensure(self, wanted: Sequence[Wanted], ahead: int | None = None) -> None:
        """Enqueue a trial for each identity that has no living one.

        Args:
            wanted: The trials that are left.
            ahead: No more than are needed for so many to wait; all of them where it is None.
        """
        with quiet():
            self.patiently(lambda: self._ensure(wanted, ahead))

    def _ensure(self, wanted: Sequence[Wanted], ahead: int | None = None) -> None:
        trials, set_aside = self._look()
        alive = living(trials, set_aside)
        among = {one.identity for one in wanted}
        waiting = sum(
            trial.state == TrialState.WAITING and trial.user_attrs[IDENTITY] in among for trial in trials
        )
        absent = [one for one in wanted if one.identity not in alive]
        for one in absent if ahead is None else absent[: max(ahead - waiting, 0)]:
            enqueue(self.study, one, trials)

    def adopt(
        self, wanted: Wanted, row: Mapping[str, Any], loss: float | None, losses: Mapping[int, float]
    ) -> None:
        """Add a trial that was trained before there was this study."""
        with quiet():
            self.patiently(lambda: adopt(self.study, wanted, Telling(row, loss, losses)))

    def under_way(self, identities: Iterable[str]) -> int:
        """Return how many of some trials others have in training."""
        with quiet():
            trials, _ = self.patiently(self._look)
        among = set(identities)
        return sum(
            trial.state == TrialState.RUNNING
            and trial.user_attrs[IDENTITY] in among
            and trial._trial_id not in self._mine
            for trial in trials
        )

    # --- taking, telling, giving back -----------------------------------------------------------------------------

    def take(self, count: int, wanted: Sequence[Wanted]) -> list[Taken]:
        """Take up to so many of some trials that wait, in the order of their numbers.

        A trial with which two processes have died comes alone: it may be what killed them.
        """
        with quiet():
            self.patiently(self._fail_orphans)
            taken: list[
                Taken
            ] = []  # of all attempts: what one has taken before the storage went away is taken
            self.patiently(lambda: self._take(count, {one.identity: one for one in wanted}, taken))
            return taken

    def _fail_orphans(self) -> None:
        """End the trials of the dead; after an outage, once the living have had the time to give their signs again."""
        if not self.place.shared or self.patiently.steady() >= self.place.grace:
            self._life.fail_orphans(set(self._mine))

    def _take(self, count: int, wanted: Mapping[str, Wanted], taken: list[Taken]) -> None:
        trials, set_aside = self._look()
        alive = living(trials, set_aside)
        for trial in trials:
            identity = trial.user_attrs[IDENTITY]
            if trial.state != TrialState.WAITING or identity not in wanted:
                continue
            if alive[identity] != trial.number:
                give_up(self.storage, trial._trial_id)
                continue
            deaths = deaths_of(trials, identity)
            if len(taken) == count or (deaths >= _SUSPECT and taken):
                break
            if self._claim(trial._trial_id):
                taken.append(Taken(wanted[identity], trial._trial_id, deaths))
                self._mine[trial._trial_id] = taken[-1]
                if self.place.shared:
                    self._pulse.add(trial._trial_id)
                if deaths >= _SUSPECT:
                    break

    def _claim(self, trial_id: int) -> bool:
        # A first sign of life before: of a trial without any, Optuna does not see that its process has died.
        self._life.sign([trial_id])
        try:
            claimed = self.storage.set_trial_state_values(trial_id, TrialState.RUNNING)
        except UpdateFinishedTrialError:
            return False
        if claimed:
            self._life.own(trial_id)
        return claimed

    def tell(
        self,
        taken: Taken,
        row: Mapping[str, Any],
        loss: float | None,
        losses: Mapping[int, float],
        curve: str | None = None,
        digest: str | None = None,
    ) -> bool:
        """Record a trained trial.

        Args:
            taken: Which one.
            row: Its row of the table.
            loss: What it is judged by; None where it did not complete.
            losses: The same after each epoch.
            curve: Its training curve as text, for other processes.
            digest: Of the curve's file, for this process alone.

        Returns:
            Whether it counts: not where this process was thought dead, and another has told the trial by now.
        """
        telling = Telling(row, loss, losses, curve, digest)
        with quiet():
            counts = self.patiently(lambda: self._tell(taken, telling))
        self._let_go(taken)
        return counts

    def _tell(self, taken: Taken, telling: Telling) -> bool:
        others, set_aside = self._look() if self.place.shared else ([], set())
        return tell(self.study, self.storage, taken, telling, others, set_aside)

    def give_back(self) -> None:
        """Return the trials that were taken and not told, to be taken again by whoever comes."""
        with quiet():
            for one in list(self._mine.values()):
                self.patiently(partial(give_up, self.storage, one.trial_id))
                self.patiently(partial(self._ensure, [one.wanted]))
                self._let_go(one)

    def _let_go(self, taken: Taken) -> None:
        self._mine.pop(taken.trial_id, None)
        self._pulse.remove(taken.trial_id)

    def _look(self) -> tuple[list[FrozenTrial], set[int]]:
        """Return the trials that have an identity, and the numbers of those set aside."""
        trials = self.study.get_trials(deepcopy=False)
        aside = (name for name in self.study.user_attrs if name.startswith(_SET_ASIDE))
        return [trial for trial in trials if IDENTITY in trial.user_attrs], {
            int(name.removeprefix(_SET_ASIDE)) for name in aside
        }
