"""A worker: trains what is left of the studies that another process leads, on this machine or on another.

It makes no study and writes no file: the suggestion, the space and the results stand in the studies, and whoever leads
(`lrtune grid`, `lrtune run`) writes them down.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lrtune.grids import Grids
from lrtune.provenance import made_from
from lrtune.results import StepResult
from lrtune.storage import StorageError
from lrtune.studies import Studies
from lrtune.study.agreement import wait_for_study
from lrtune.study.opening import check_shared
from lrtune.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.config import Config
    from lrtune.progress import Progress
    from lrtune.steps.context import Context
    from lrtune.study.place import StudyPlace
    from lrtune.study.queue import TrialQueue
    from lrtune.task import Task

_COARSE, _REFINE = "coarse-grid", "refine-grid"


class Worker:
    """Joins the studies of a task.

    Args:
        task: The user's task.
        config: The settings, those of the process that leads.
        progress: Told what it does.
        folder: What relative paths in the settings start from.
        wait: Seconds to wait for a study that is not there yet.

    Raises:
        ConfigError: If the device is not there, or an axis stands for nothing.
        StorageError: If the storage is none that processes can share.
    """

    def __init__(
        self, task: Task, config: Config, progress: Progress, folder: str | None = None, wait: float = 300
    ) -> None:
        self._task = task
        self._config = config.updated(run_dir=None)
        self._progress = progress
        self._wait = wait
        self._workshop = Workshop(task, self._config, progress, folder)
        self._studies = Studies(task, self._config, None, progress.alarm)
        self._places = {step: self._studies.place(step, self._origin(step)) for step in (_COARSE, _REFINE)}
        check_shared(self._places[_COARSE])
        self._grids = Grids(self._studies, self._workshop.variants)

    def run(self) -> StepResult:
        """Work until nothing is left; return how much was done.

        Raises:
            StorageError: If no study appears, one is of something else, or the storage stays away.
            UserCodeError: If the user's code raises alike in the first trials.
        """
        started = time.perf_counter()
        done = {"cells": 0, "trials": 0}
        with self._workshop.working():
            found = self._found(tuple(self._places.values()))
            if found is None:
                raise StorageError(self._advice())
            if found.place.name == self._places[_COARSE].name:
                done["cells"] = self._work(found, self._grids.work_on_coarse, _COARSE)
                found = self._found((self._places[_REFINE],))
            if found is None:
                self._progress.note("no refined search has begun; nothing is left to do")
            else:
                done["trials"] = self._work(found, self._grids.work_on_refine, _REFINE)
        self._progress.note(
            f"worker: trained {done['cells']} cells and {done['trials']} trials; nothing is left"
        )
        summary = {**done, "study": self._places[_COARSE].name.rpartition("-")[0]}
        return StepResult("worker", [], summary, time.perf_counter() - started)

    def _work(
        self, queue: TrialQueue, work: Callable[[Context, dict[str, Any], TrialQueue], int], step: str
    ) -> int:
        self._progress.note(f"worker: joined the study '{queue.place.name}' in {queue.place}")
        try:
            self._workshop.told.begin(step)
            with self._workshop.at(self._workshop.opened()) as context:
                return work(context, self._origin(step), queue)
        finally:
            queue.close()

    def _found(self, places: tuple[StudyPlace, ...]) -> TrialQueue | None:
        names = " or ".join(f"'{place.name}'" for place in places)
        return wait_for_study(
            places,
            self._wait,
            told=lambda: self._progress.note(
                f"worker: no study {names} in {places[0]} yet; waiting up to {self._wait:g} s for one"
            ),
        )

    def _origin(self, step: str) -> dict[str, Any]:
        device, sources = str(self._workshop.device), self._workshop.sources
        return made_from(step, self._task, self._config, device, {}, sources)

    def _advice(self) -> str:
        place = self._places[_COARSE]
        return (
            f"storage: after {self._wait:g} s there is no study '{place.name}' in {place}. Start the process that "
            "leads with the same config and storage (lrtune run CONFIG, or lrtune grid --coarse CONFIG), give both the "
            "same study: name, or wait for longer (--wait SECONDS)"
        )
