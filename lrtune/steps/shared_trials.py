"""Trials between a step and its study: trained in batches, told once it is clear that not all fail, waited for."""

from __future__ import annotations

import json
import math
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lrtune.errors import UserCodeError
from lrtune.results import Curve
from lrtune.steps.attempts import CrashLoop
from lrtune.steps.trials import labelled, score
from lrtune.study.queue import DEADLY
from lrtune.study.trials import losses_by_epoch
from lrtune.user_trace import users_traceback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from lrtune.run_dir import RunDir
    from lrtune.steps.attempts import Attempt
    from lrtune.steps.trials import Trial
    from lrtune.study.place import StudyPlace
    from lrtune.study.queue import TrialQueue
    from lrtune.study.trials import Taken, Told, Wanted

_PAUSE = 0.5  # seconds between two looks at what others have trained
_SELDOM = 4  # times the seconds that keeping all took pass before the next: a fifth of the time at most


@dataclass(frozen=True)
class Role:
    """Who works on a study.

    Attributes:
        leads: Whether this process makes the study, tries failed trials again and writes the result.
        pause: Sleeps for so many seconds.
        clock: Tells seconds, for a budget of time.
    """

    leads: bool = True
    pause: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class SharedTrials:
    """The rows of a study's trials, of this process and of others, with their curves.

    Args:
        queue: The study.
        role: Who works on it.
        known: Curves that are known already, by name.
        files: Where curves are written as soon as they are there, where anything is.
    """

    def __init__(
        self, queue: TrialQueue, role: Role, known: dict[str, Curve], files: RunDir | None = None
    ) -> None:
        self.queue = queue
        self.rows: dict[str, Trial] = {}
        self.curves: dict[str, Curve] = {}
        self.trained = 0
        self._role = role
        self._known = dict(known)
        self._files = files
        self._next_keep = -math.inf
        self._behind: Callable[[], object] | None = None
        self._held: list[tuple[Taken, Trial, Curve]] = []
        self._waiting_told = False
        self._begin()

    @property
    def place(self) -> StudyPlace:
        """Where the study is."""
        return self.queue.place

    def _begin(self) -> None:
        told = self.queue.told()
        if self._role.leads:
            lost = [one.number for one in told.values() if self._curve(one) is None]
            failed = [one.number for one in told.values() if one.row["state"] == "failed"]
            self.queue.set_aside([*lost, *failed])
        self.refresh()
        some_went_well = any(row["state"] != "failed" for row in self.rows.values())
        self.crashes = CrashLoop(well=self._role.leads and some_went_well)

    def refresh(self) -> None:
        """Take in what others have trained."""
        for identity, one in self.queue.told().items():
            if identity not in self.rows:
                self.rows[identity] = one.row
                self.curves[one.row["curve"]] = self._curve(one) or Curve()

    def _curve(self, told: Told) -> Curve | None:
        name = str(told.row["curve"])
        if name not in self._known:
            found = curve_of(told.curve) if told.curve else None
            if found is None and told.digest and self._files is not None:
                found = self._files.read_curve(name, told.digest)
            if found is None:
                return None
            # A worker writes no curves, and the plan of cells asks for the evaluations alone.
            self._known[name] = found if self._role.leads else Curve([], found.evaluations)
        return self._known[name]

    def take(self, wanted: Sequence[Wanted], at_once: int, share: int) -> list[Taken]:
        """Take some trials that wait.

        Args:
            wanted: Those that are left.
            at_once: How many train well together.
            share: Of a shared study at most one in so many of those left.
        """
        count = min(at_once, -(-len(wanted) // share)) if self.place.shared else at_once
        drawn = any(
            not one.distributions for one in wanted
        )  # what is drawn when taken is enqueued as it is needed
        self.queue.ensure(wanted, count if drawn else None)
        return self.queue.take(count, wanted)

    def wait(self, wanted: Sequence[Wanted], note: Callable[[str], object]) -> None:
        """Wait a moment for what others train."""
        if self._flush():
            return
        if not self._waiting_told and (count := self.queue.under_way(one.identity for one in wanted)):
            note(f"waiting for {count} trial{'' if count == 1 else 's'} that other workers train")
            self._waiting_told = True
        if self.place.shared:
            self._role.pause(_PAUSE)

    def add(self, taken: Taken, attempt: Attempt, row: Trial, keep: Callable[[], object]) -> None:
        """Record a trained trial.

        One that failed is told only when another has gone well, or nothing else is left: a process in which all trials
        fail has a fault of its own, and gives them back.

        Args:
            taken: The trial.
            attempt: Its training.
            row: Its row of the table.
            keep: Called when the row is there and not told yet: a crash in between repeats it, never loses it.

        Raises:
            UserCodeError: If the first trials have all failed alike.
        """
        self.trained += 1
        self.crashes.add(attempt.run)
        self._keep_traceback(attempt, row)
        if attempt.run.failure is not None and not self.crashes.well:
            self._held.append((taken, row, attempt.run.curve))
            return
        self._flush(keep)
        self._tell(taken, row, attempt.run.curve, keep)

    def _keep_traceback(self, attempt: Attempt, row: Trial) -> None:
        """Write where a trial failed beside its curve: its row has one line for it."""
        failure = attempt.run.failure
        if failure is not None and self._files is not None:
            row["traceback"] = self._files.write_traceback(row["curve"], users_traceback(failure))

    def give_up(self, taken: Taken, row: Trial) -> None:
        """Record a trial with which several processes have died."""
        self._tell(taken, row, Curve(), lambda: None)

    def refuse_if_all_failed(self, rows: Sequence[Trial]) -> None:
        """Raise what was raised in a sweep of which nothing is left but failures.

        Raises:
            UserCodeError: If that is so.
        """
        if rows and all(row["state"] == "failed" for row in rows):
            self.crashes.raise_first()
            if self._role.leads:
                raise UserCodeError(
                    f"in every trial, first the one with {labelled(rows[0])}: {rows[0].get('error')}"
                )

    def deadly(self, taken: Taken) -> bool:
        """Say whether so many processes have died with a trial that it is not to be tried again.

        Where one process works alone, it is the user who starts it again, and decides.
        """
        return self.place.shared and taken.deaths >= DEADLY

    def _flush(self, keep: Callable[[], object] = lambda: None) -> bool:
        held, self._held = self._held, []
        for taken, row, curve in held:
            self._tell(taken, row, curve, keep)
        return bool(held)

    def _tell(self, taken: Taken, row: Trial, curve: Curve, keep: Callable[[], object]) -> None:
        self.rows[taken.identity] = row
        self.curves[row["curve"]] = curve if self._role.leads else Curve([], curve.evaluations)
        digest = self._files.write_curve(row["curve"], curve) if self._files is not None else None
        self._keep(keep, at_once=row["curve"] in self._known)  # a file that the table holds has changed
        loss = score(row) if row["state"] == "complete" else None
        text = curve_text(curve) if self.place.shared else None
        if not self.queue.tell(taken, row, loss, losses_by_epoch(curve.evaluations), text, digest):
            # Thought dead in the meantime, and given to another, whose row counts.
            del self.rows[taken.identity]

    def _keep(self, keep: Callable[[], object], at_once: bool) -> None:
        """Keep all there is; only now and then, where the curve is in a file and the study will have the row.

        The more trials, the longer it takes: after each of them it would be most of the work.
        """
        if not self._role.leads:  # who leads writes
            return
        began = self._role.clock()
        if self._files is not None and began < self._next_keep and not at_once:
            self._behind = keep
            return
        keep()
        self._behind = None
        self._next_keep = began + (1 + _SELDOM) * (self._role.clock() - began)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """What is kept is up to date when the block is left by an interruption or an error."""
        try:
            yield
        except BaseException:
            if self._behind is not None:
                self._behind()
            raise


def lost_row(settings: Mapping[str, Any], seed: int, curve: str, deaths: int) -> Trial:
    """Return the row of a trial that is not tried again, since processes have died with it."""
    return {
        **settings,
        "val_loss": None,
        "train_loss": None,
        "metrics": {},
        "steps": 0,
        "state": "failed",
        "seed": seed,
        "curve": curve,
        "error": f"{deaths} processes have died while they trained it",
        "tries": deaths,
    }


def curve_text(curve: Curve) -> str:
    """Return a curve as text that a study's attribute can hold."""
    return json.dumps(asdict(curve), separators=(",", ":"))


def curve_of(text: str) -> Curve:
    """Return the curve that `curve_text` wrote."""
    return Curve(**json.loads(text))
