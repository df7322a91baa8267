"""The loop over the six steps, and the Python functions: order, reuse and staleness, and where to stop.

A step's stored result is fresh as long as what it was made from is unchanged: the settings it reads, the source of
the task, and what its input steps found. Anything else runs again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.config import Config
from lrtune.data.device import resolve_device
from lrtune.errors import TaskError
from lrtune.progress import Silent
from lrtune.provenance import changed, fingerprint, made_from
from lrtune.random_state import preserved
from lrtune.reports.files import write_report
from lrtune.results import STEPS, StepResult
from lrtune.run_dir import RunDir
from lrtune.steps.check_init import check_init as _check_init
from lrtune.steps.coarse_grid import coarse_grid as _coarse_grid
from lrtune.steps.context import Context, open_context
from lrtune.steps.find_lr import find_lr as _find_lr
from lrtune.steps.loss_curves import best_trial, loss_curves
from lrtune.steps.overfit import overfit as _overfit
from lrtune.steps.refine_grid import StudyPlace
from lrtune.steps.refine_grid import refine_grid as _refine_grid
from lrtune.study.search import StudyFileError
from lrtune.task import Task, described
from lrtune.task_file import load_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.progress import Progress
    from lrtune.run_dir import Stored

_NOT_IN_STUDY = ("trials", "seeds")  # of refine: more of either continues the same study


def check_init(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 1: judge the loss at initialisation, the data and the first gradient.

    Args:
        task: Model, data and loss.
        config: Settings; all have defaults. With `run_dir` the result is written there.
        progress: Told how far the work is.

    Raises:
        UsageError: If the task or the settings cannot be used.
        UserCodeError: If the task's own code raises.
    """
    return Recipe(task, config, progress).step("check-init")


def overfit(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 2: learn a few minibatches by heart; arguments and errors as for `check_init`."""
    return Recipe(task, config, progress).step("overfit")


def find_lr(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 3: the rate that makes the loss fall; arguments and errors as for `check_init`."""
    return Recipe(task, config, progress).step("find-lr")


def coarse_grid(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 4: a coarse grid; runs step 3 first where it needs its rate. Arguments and errors as for `check_init`."""
    return Recipe(task, config, progress).step("coarse-grid")


def refine_grid(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 5: a refined search; runs step 4 first where it is missing. Arguments and errors as for `check_init`."""
    return Recipe(task, config, progress).step("refine-grid")


def report(task: Task, config: Config | None = None, progress: Progress | None = None) -> StepResult:
    """Step 6: the best settings, and with a `run_dir` the page; arguments and errors as for `check_init`."""
    return Recipe(task, config, progress).step("report")


def run(
    task: Task, config: Config | None = None, progress: Progress | None = None, keep_going: bool = False
) -> StepResult:
    """All six steps, each fed by the one before; stops at the first that fails unless `keep_going`.

    Further arguments and errors as for `check_init`; the result's `steps` holds each step's.
    """
    return Recipe(task, config, progress).run(keep_going)


class Recipe:
    """One task with its settings, and the steps done so far.

    Args:
        task: Model, data and loss.
        config: Settings.
        progress: Told how far the work is.
        folder: What relative paths in the settings start from.
        command: The command line, for the report.

    Raises:
        TaskError: If `task` is no `Task`.
        ConfigError: If the device is not there.
        RunDirError: If the run directory cannot be written.
    """

    def __init__(
        self,
        task: Task,
        config: Config | None = None,
        progress: Progress | None = None,
        folder: str | None = None,
        command: str = "",
    ) -> None:
        if not isinstance(task, Task):
            raise TaskError(
                f"expected an lrtune.Task, got {described(task)}; lrtune.load_task loads one by its name"
            )
        self.task = task
        self.config = config or Config()
        self.progress = progress or Silent()
        self._folder = folder
        self._command = command
        self._device = resolve_device(self.config.device)
        self._run_dir = RunDir(self.config.run_dir, self.progress.note) if self.config.run_dir else None
        self._results: dict[str, StepResult] = {}
        self._stored: dict[str, Stored | None] = {}
        self._context: Context | None = None

    def step(self, name: str) -> StepResult:
        """Run one step now; steps that it starts from run first where they are missing or stale."""
        with preserved(), torch.enable_grad():
            return self._computed(name)

    def run(self, keep_going: bool = False) -> StepResult:
        """Walk the recipe, using again what is fresh."""
        started = time.perf_counter()
        done: list[StepResult] = []
        with preserved(), torch.enable_grad():
            for name in STEPS:
                done.append(self._computed(name) if name == "report" else self._result(name))
                if done[-1].verdict == "fail" and not keep_going:
                    break
            last = done[-1] if done[-1].step == "report" else self._computed("report")
        findings = [finding for result in done for finding in result.findings]
        summary = {"best": last.summary["best"], "html": last.summary["html"]}
        seconds = time.perf_counter() - started
        return StepResult("run", findings, summary, seconds, self.config.run_dir, steps=done)

    # --- one step -------------------------------------------------------------------------------------------------

    def _result(self, name: str) -> StepResult:
        """Return a step's result: of this recipe, else the stored one if it is fresh, else computed."""
        if name not in self._results:
            stored = self._load(name)
            if stored is not None and self._is_fresh(name, stored):
                self.progress.note(f"{name}: nothing has changed, taken from {self.config.run_dir}")
                self._results[name] = stored.result
            else:
                self._computed(name)
        return self._results[name]

    def _load(self, name: str) -> Stored | None:
        if name not in self._stored:
            self._stored[name] = self._run_dir.load(name) if self._run_dir else None
        return self._stored[name]

    def _is_fresh(self, name: str, stored: Stored) -> bool:
        differences = changed(stored.made_from, self._made_from(name))
        if differences:
            self.progress.note(f"{name}: stale, because {', '.join(differences)} changed; running it again")
        elif not stored.complete:
            self.progress.note(f"{name}: was interrupted; going on where it stopped")
        return stored.complete and not differences

    def _computed(self, name: str) -> StepResult:
        origin = self._made_from(name)
        started = time.perf_counter()
        inputs = self._inputs(name)
        failed = [result for result in inputs.values() if result.verdict == "fail"]
        result = _blocked(name, failed) if failed else self._ran(name, origin)
        result.seconds = time.perf_counter() - started
        if self._run_dir:
            result = self._run_dir.save(result, origin, complete=not failed)
        self._results[name] = result
        return result

    def _made_from(self, name: str) -> dict[str, Any]:
        return made_from(name, self.task, self.config, str(self._device), self._inputs(name))

    def _inputs(self, name: str) -> dict[str, StepResult]:
        """Return the results that a step starts from, running what is missing."""
        if name == "coarse-grid" and self.config.coarse.lr == "auto":
            return {"find-lr": self._result("find-lr")}
        if name == "refine-grid":
            return {"coarse-grid": self._result("coarse-grid")}
        return {}

    def _ran(self, name: str, origin: Mapping[str, Any]) -> StepResult:
        if name == "report":
            return self._reported()
        run_step: dict[str, Callable[[Context], StepResult]] = {
            "check-init": _check_init,
            "overfit": _overfit,
            "find-lr": _find_lr,
            "coarse-grid": lambda context: _coarse_grid(
                context, self._suggestion(), self._unfinished(name, origin)
            ),
            "refine-grid": lambda context: self._refined(context, origin),
        }
        return run_step[name](self._opened(origin))

    def _opened(self, origin: Mapping[str, Any]) -> Context:
        if self._context is None:
            self._context = open_context(
                self.task,
                self.config,
                self.progress,
                lambda name, role: load_function(name, role, self._folder),
            )
        if self._run_dir is None:
            return self._context
        run_dir = self._run_dir
        return replace(
            self._context, keep=lambda result: (run_dir.save(result, origin, complete=False), None)[1]
        )

    def _suggestion(self) -> float | None:
        return self._result("find-lr").summary["suggestion"] if self.config.coarse.lr == "auto" else None

    def _unfinished(self, name: str, origin: Mapping[str, Any]) -> StepResult | None:
        stored = self._load(name)
        unfinished = stored is not None and not stored.complete and not changed(stored.made_from, origin)
        return stored.result if stored and unfinished else None

    def _refined(self, context: Context, origin: Mapping[str, Any]) -> StepResult:
        refine = {key: value for key, value in origin["refine"].items() if key not in _NOT_IN_STUDY}
        name = f"refine-{fingerprint({**origin, 'refine': refine})}"
        path = self._run_dir.path / "study.db" if self._run_dir else None
        place = StudyPlace(None if path is None else str(path), name)
        stored = self._load("refine-grid")
        coarse, done = self._result("coarse-grid"), stored.result if stored else None
        try:
            return _refine_grid(context, coarse, place, done)
        except StudyFileError as error:
            if self._run_dir is None or path is None:
                raise
            self._run_dir.set_aside(path, str(error))
            return _refine_grid(context, coarse, place, done)

    # --- the report -----------------------------------------------------------------------------------------------

    def _reported(self) -> StepResult:
        """Report what is there and fresh; a grid is made first when there is no result of any step."""
        results, stale = self._available()
        if not results:
            self._result("coarse-grid")
            results, stale = self._available()
        result = loss_curves(results)
        if self._run_dir:
            page = {**results, "report": result}
            result.summary["html"] = write_report(self._run_dir, page, self._report_context(stale))
        return result

    def _available(self) -> tuple[dict[str, StepResult], list[str]]:
        """Return each step's result that may be shown, and the names of those that are stale."""
        found, stale = dict(self._results), []
        for name in STEPS[:-1]:
            stored = self._load(name) if name not in found else None
            if stored is not None:
                found[name] = stored.result
                if changed(stored.made_from, self._made_from(name)):
                    stale.append(name)
        return {name: found[name] for name in STEPS[:-1] if name in found}, stale

    def _report_context(self, stale: list[str]) -> dict[str, Any]:
        return {
            "task": self.task.name,
            "command": self._command,
            "device": str(self._device),
            "seed": self.config.seed,
            "optimizer": self.config.optimizer.model_dump(),
            "own_optimizer": self.task.optimizer is not None,
            "batch_size": self.config.batch_size,
            "config": self.config.model_dump(exclude_unset=True),
            "stale": stale,
        }


def _blocked(name: str, failed: list[StepResult]) -> StepResult:
    """Return the result of a step that cannot begin because the step that it starts from has failed."""
    findings = [finding for result in failed for finding in result.findings if finding.severity == "error"]
    return StepResult(name, findings, {"best": None, "trials": []})
