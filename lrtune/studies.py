"""The studies of the two grids: where they are kept, by what name, and the task made ready for what they train."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lrtune.population.outside import outside_kept
from lrtune.provenance import fingerprint
from lrtune.results import STEPS
from lrtune.steps.axes import Axes
from lrtune.storage import storage_of
from lrtune.study.place import StudyPlace
from lrtune.task_file import short_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.config import Config
    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir
    from lrtune.steps.cells import Combination
    from lrtune.steps.context import Context
    from lrtune.task import Task

FILE = "study.db"  # in the run directory
_NOT_IN_STUDY = ("trials", "timeout", "seeds")  # of refine: a changed budget continues the same study
_OF_ONE_PROCESS = (
    "device",
    *STEPS,
)  # machines may differ in their device; what the steps found stands in the study


class Studies:
    """Where the studies of a task are.

    Args:
        task: The user's task.
        config: The settings.
        run_dir: Keeps the studies where no storage is set.
        note: Told what a person should know of the storage.
    """

    def __init__(
        self, task: Task, config: Config, run_dir: RunDir | None, note: Callable[[str], object]
    ) -> None:
        self._config = config
        self._storage = storage_of(config.storage)
        self._run_dir = run_dir
        self._note = note
        self._name = config.study or short_name(task.name)

    def place(self, step: str, origin: Mapping[str, Any]) -> StudyPlace:
        """Return where a grid's study is kept.

        Alone, another configuration is another study, by the fingerprint in its name. Where studies are shared, all who
        work on one find it by a plain name, and what it was made from is compared.

        Args:
            step: `coarse-grid` or `refine-grid`.
            origin: What the step's result is made from.
        """
        kind = step.removesuffix("-grid")
        workers = self._config.workers
        path = None if self._run_dir is None else str(self._run_dir.path / FILE)
        shared = self._storage is not None and self._storage.shared
        name = f"{self._name}-{kind}" if shared else f"{kind}-{fingerprint(of_study(origin))}"
        return StudyPlace(path, name, self._storage, workers.heartbeat, workers.patience, self._note)

    def made_from(self, origin: Mapping[str, Any]) -> dict[str, Any]:
        """Return what all who share a study must agree on."""
        return {key: value for key, value in of_study(origin).items() if key not in _OF_ONE_PROCESS}


class Variants:
    """The task made ready for values of the coarse grid's further axes, each combination once.

    Args:
        task: The user's task.
        config: The settings.
        folder: What relative paths in them start from.
        opened: Makes a task ready with settings.

    Raises:
        ConfigError: If an axis stands for nothing.
    """

    def __init__(
        self,
        task: Task,
        config: Config,
        folder: str | None,
        opened: Callable[[Task, Config], Context],
    ) -> None:
        self.axes = Axes(task, config, folder)
        self.names = tuple(config.coarse.axes)
        self._open = opened
        self._contexts: dict[str, Context] = {}
        self._kept = ExitStack()

    def open(self, combination: Combination, base: Context) -> Context:
        """Return the context of a combination; `base` has no values for any axis, and says what is kept."""
        if not combination:
            return base
        key = repr(combination)
        if key not in self._contexts:
            context = self._open(self.axes.task(combination), self.axes.settings(combination))
            self._kept.enter_context(outside_kept(context.task))
            self._contexts[key] = context
        context = self._contexts[key]
        context.open()
        return replace(context, keep=base.keep, weights=base.weights)

    def best_of(self, coarse: StepResult) -> Combination:
        """Return the combination of the coarse grid's best cell."""
        best = coarse.summary["best"] or {}
        return tuple((name, best.get(name)) for name in self.names)

    def close(self) -> None:
        """Give back what the contexts hold, and the state of the tasks behind them."""
        for context in self._contexts.values():
            context.close()
        self._kept.close()
        self._contexts.clear()


def of_study(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a grid's study depends on: more trials, or more seeds, go on with the same one."""
    if "refine" not in origin:
        return dict(origin)
    refine = {key: value for key, value in origin["refine"].items() if key not in _NOT_IN_STUDY}
    return {**origin, "refine": refine}
