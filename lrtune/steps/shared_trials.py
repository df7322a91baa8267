"""Trials between a step and its study: trained in batches, told once it is clear that not all fail, waited for."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from lrtune.errors import UserCodeError
from lrtune.results import Curve
from lrtune.steps.attempts import CrashLoop
from lrtune.steps.trials import labelled, score
from lrtune.study.queue import DEADLY
from lrtune.study.trials import losses_by_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.steps.attempts import Attempt
    from lrtune.steps.trials import Trial
    from lrtune.study.place import StudyPlace
    from lrtune.study.queue import TrialQueue
    from lrtune.study.trials import Taken, Wanted

_PAUSE = 0.5  # seconds between two looks at what others have trained


@dataclass(frozen=True)
class Role:
    """Who works on a study.

    Attributes:
        leads: Whether this process makes the study, tries failed trials again and writes the result.
        pause: Sleeps for so many seconds.
    """

    leads: bool = True
    pause: Callable[[float], None] = time.sleep


class SharedTrials:
    """The rows of a study's trials, of this process and of others, with their curves.

    Args:
        queue: The study.
        role: Who works on it.
        known: Curves that are known already, by name.
    """

    def __init__(self, queue: TrialQueue, role: Role, known: dict[str, Curve]) -> None:
        self.queue = queue
        self.rows: dict[str, Trial] = {}
        self.curves: dict[str, Curve] = {}
        self.trained = 0
        self._role = role
        self._known = known
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
            lost = [
                one.number
                for one in told.values()
                if one.curve is None and one.row["curve"] not in self._known
            ]
            failed = [one.number for one in told.values() if one.row["state"] == "failed"]
            self.queue.set_aside([*lost, *failed])
        self.refresh()
        some_went_well = any(row["state"] != "failed" for row in self.rows.values())
        self.crashes = CrashLoop(well=self._role.leads and some_went_well)

    def refresh(self) -> None:
        """Take in what others have trained."""
        for identity, one in self.queue.told().items():
            if identity not in self.rows:
                curve = self._known.get(one.row["curve"])
                self.rows[identity] = one.row
                self.curves[one.row["curve"]] = (
                    curve if curve is not None else curve_of(one.curve) if one.curve else Curve()
                )

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
        if attempt.run.failure is not None and not self.crashes.well:
            self._held.append((taken, row, attempt.run.curve))
            return
        self._flush(keep)
        self._tell(taken, row, attempt.run.curve, keep)

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
        self.curves[row["curve"]] = curve
        keep()
        loss = score(row) if row["state"] == "complete" else None
        text = curve_text(curve) if self.place.shared else None
        if not self.queue.tell(taken, row, loss, losses_by_epoch(curve.evaluations), text):
            # Thought dead in the meantime, and given to another, whose row counts.
            del self.rows[taken.identity]


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
