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

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import TrialState, create_trial

from lrtune.storage import StorageError
from lrtune.study.late import drop_waiting, tell_late, told_by_another
from lrtune.study.life import Pulse, fail, life_in
from lrtune.study.opening import DAMAGED, NoStudyError, StudyFileError, open_storage, open_study
from lrtune.study.patience import Patience
from lrtune.study.quiet import quiet
from lrtune.study.sqlite_lock import locked, unlock
from lrtune.study.trials import (
    CURVE,
    DIGEST,
    GIVEN_BACK,
    IDENTITY,
    LATE,
    ROW,
    STATES,
    Taken,
    Told,
    Wanted,
    deaths_of,
    living,
    row_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from optuna.storages import BaseStorage
    from optuna.trial import FrozenTrial

    from lrtune.study.place import StudyPlace

_SETUP = "lrtune"  # user attributes of a study: what it is a study of,
_SET_ASIDE = "lrtune:set aside:"  # and, with a number, that this trial is to be trained anew
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
        self.place = place
        self.patiently = Patience(place)  # an outage that one use of it notices counts for all
        self._lock = locked(place)
        self._storage: BaseStorage | None = None
        try:
            with quiet():
                self._open(create)
        except BaseException:
            self._release()
            raise

    def _open(self, create: bool) -> None:
        place = self.place
        try:
            self._storage = storage = self.patiently(partial(open_storage, place))
            self.study = self.patiently(partial(self._opened, storage, create))
            self._life = life_in(place, self.study, storage)
            self._pulse = Pulse(self._life, place.heartbeat, self.patiently.missed)
            self._mine: dict[int, Taken] = {}
            if not place.shared:
                self._life.fail_orphans(set())
        except Exception as error:
            # A damage may show itself at any reading; the file belongs to this process alone.
            if place.storage is not None or place.path is None or DAMAGED[1] not in str(error):
                raise
            raise StudyFileError(str(error).splitlines()[0]) from error

    @property
    def storage(self) -> BaseStorage:
        """Optuna's storage of the study."""
        assert self._storage is not None, "the queue is closed"
        return self._storage

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
            self._release()

    def _release(self) -> None:
        if isinstance(self._storage, RDBStorage):
            self._storage.remove_session()
            self._storage.engine.dispose()
        self._storage = None
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    def _opened(self, storage: BaseStorage, create: bool) -> optuna.Study:
        try:
            return open_study(storage, self.place.name)
        except NoStudyError:
            if not create:
                raise
        return optuna.create_study(
            study_name=self.place.name, storage=storage, load_if_exists=True, direction="minimize"
        )

    # --- what it is a study of ------------------------------------------------------------------------------------

    @property
    def setup(self) -> dict[str, Any] | None:
        """What the study is of, as plain values; None before anyone has said."""
        return self.patiently(lambda: self.study.user_attrs.get(_SETUP))

    def set_up(self, setup: Mapping[str, Any]) -> None:
        """Say what the study is of."""
        self.patiently(lambda: self.study.set_user_attr(_SETUP, dict(setup)))

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
            self._enqueue(one, [trial for trial in trials if trial.user_attrs[IDENTITY] == one.identity])

    def _enqueue(self, wanted: Wanted, before: Sequence[FrozenTrial]) -> None:
        drawn = [trial for trial in before if trial.params]
        fixed = {**wanted.params, **(drawn[-1].params if drawn else {})}
        self.study.add_trial(
            create_trial(
                state=TrialState.WAITING,
                params=dict(wanted.params) if wanted.distributions else {},
                distributions=dict(wanted.distributions),
                user_attrs={IDENTITY: wanted.identity},
                system_attrs={"fixed_params": fixed},
            )
        )

    def adopt(
        self, wanted: Wanted, row: Mapping[str, Any], loss: float | None, losses: Mapping[int, float]
    ) -> None:
        """Add a trial that was trained before there was this study."""
        complete = row["state"] == "complete"
        trial = create_trial(
            state=STATES.get(row["state"], TrialState.FAIL),
            value=loss if complete else None,
            params=dict(wanted.params),
            distributions=dict(wanted.distributions),
            user_attrs={IDENTITY: wanted.identity, ROW: dict(row)},
            intermediate_values=dict(losses),
        )
        with quiet():
            self.patiently(lambda: self.study.add_trial(trial))

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
                self._give_up(trial._trial_id)
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
        attributes = {CURVE: curve, DIGEST: digest, ROW: dict(row)}
        with quiet():
            counts = self.patiently(lambda: self._tell(taken, attributes, loss, losses))
        self._let_go(taken)
        return counts

    def _tell(
        self, taken: Taken, attributes: Mapping[str, Any], loss: float | None, losses: Mapping[int, float]
    ) -> bool:
        storage, trial_id, row = self.storage, taken.trial_id, attributes[ROW]
        state = STATES.get(row["state"], TrialState.FAIL)
        value = None if state == TrialState.FAIL else loss
        trials: list[FrozenTrial] = []
        if self.place.shared:
            trials, set_aside = self._look()
            other = told_by_another(trials, set_aside, taken.identity, trial_id)
            if other is not None:
                self._give_up(trial_id)
                return bool(other.user_attrs.get(LATE) == trial_id)  # by an attempt whose answer was lost
        try:
            for epoch, after in losses.items():
                storage.set_trial_intermediate_value(trial_id, epoch, after)
            for name, told in attributes.items():
                if told is not None:
                    storage.set_trial_user_attr(trial_id, name, told)
            storage.set_trial_state_values(trial_id, state, None if value is None else [value])
        except UpdateFinishedTrialError:
            ended = storage.get_trial(trial_id)
            if (
                row_of(ended, set()) != row
            ):  # else told already, by an attempt whose answer was lost on the way
                tell_late(self.study, ended, state, attributes, value, losses)
                drop_waiting(storage, trials, taken.identity)
        return True

    def give_back(self) -> None:
        """Return the trials that were taken and not told, to be taken again by whoever comes."""
        with quiet():
            for one in list(self._mine.values()):
                self.patiently(partial(self._give_up, one.trial_id))
                self.patiently(partial(self._ensure, [one.wanted]))
                self._let_go(one)

    def _let_go(self, taken: Taken) -> None:
        self._mine.pop(taken.trial_id, None)
        self._pulse.remove(taken.trial_id)

    def _give_up(self, trial_id: int) -> None:
        try:
            self.storage.set_trial_user_attr(trial_id, GIVEN_BACK, True)
        except UpdateFinishedTrialError:
            return
        fail(self.storage, trial_id)

    def _look(self) -> tuple[list[FrozenTrial], set[int]]:
        """Return the trials that have an identity, and the numbers of those set aside."""
        trials = self.study.get_trials(deepcopy=False)
        aside = (name for name in self.study.user_attrs if name.startswith(_SET_ASIDE))
        return [trial for trial in trials if IDENTITY in trial.user_attrs], {
            int(name.removeprefix(_SET_ASIDE)) for name in aside
        }
