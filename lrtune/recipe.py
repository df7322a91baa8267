"""The loop over the six steps: their order, what is fresh and what is stale, and where to stop.

A step's stored result is fresh as long as what it was made from is unchanged: the settings it reads, the source of
the task, and what its input steps found. Anything else runs again.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrtune.config import Config
from lrtune.data.device import resolve_device
from lrtune.errors import RunDirError, TaskError
from lrtune.progress import Silent
from lrtune.provenance import changed, fingerprint, made_from
from lrtune.random_state import preserved
from lrtune.results import STEPS, StepResult
from lrtune.run_dir import FILES, RunDir
from lrtune.steps.check_init import check_init as _check_init
from lrtune.steps.coarse_grid import coarse_grid as _coarse_grid
from lrtune.steps.context import Context, open_context
from lrtune.steps.find_lr import find_lr as _find_lr
from lrtune.steps.loss_curves import loss_curves
from lrtune.steps.overfit import overfit as _overfit
from lrtune.task import Task, described
from lrtune.task_file import load_function

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.progress import Progress
    from lrtune.run_dir import Stored

_NOT_IN_STUDY = ("trials", "seeds")  # of refine: more of either continues the same study


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

    def run(
        self, keep_going: bool = False, on_step: Callable[[StepResult], None] = lambda result: None
    ) -> StepResult:
        """Walk the recipe, using again what is fresh; after a failure the report still says how far it came.

        Args:
            keep_going: Do not stop at a step that fails.
            on_step: Told each step's result as soon as it is there.
        """
        started = time.perf_counter()
        done: list[StepResult] = []
        with preserved(), torch.enable_grad():
            for name in STEPS:
                done.append(self._computed(name) if name == "report" else self._result(name))
                on_step(done[-1])
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
            return {"find-lr": self._input("find-lr", name)}
        if name == "refine-grid":
            return {"coarse-grid": self._input("coarse-grid", name)}
        return {}

    def _input(self, name: str, of: str) -> StepResult:
        if name not in self._results and self._load(name) is None:
            self.progress.note(f"{of} starts from {name}, which has no result yet: running {name} first")
        return self._result(name)

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
        # Optuna takes longer to import than the first steps to run.
        from lrtune.steps.refine_grid import StudyPlace, refine_grid
        from lrtune.study.search import StudyFileError

        refine = {key: value for key, value in origin["refine"].items() if key not in _NOT_IN_STUDY}
        name = f"refine-{fingerprint({**origin, 'refine': refine})}"
        path = self._run_dir.path / "study.db" if self._run_dir else None
        place = StudyPlace(None if path is None else str(path), name)
        stored = self._load("refine-grid")
        same_study = stored is not None and stored.result.details.get("study") == name
        coarse, done = self._result("coarse-grid"), stored.result if stored and same_study else None
        try:
            return refine_grid(context, coarse, place, done)
        except StudyFileError as error:
            if self._run_dir is None or path is None:
                raise
            self._run_dir.set_aside(path, str(error))
            return refine_grid(context, coarse, place, None)

    # --- the report -----------------------------------------------------------------------------------------------

    def _reported(self) -> StepResult:
        """Report what is there; the coarse grid is made first when there is no result of any step."""
        if not self._available():
            self._result("coarse-grid")
        results = self._available()
        result = loss_curves(results)
        if self._run_dir:
            stale = [name for name in results if self._is_stale(name)]
            origin = self._made_from("report")
            context = {**report_context(origin), "command": self._command, "stale": stale}
            context["config"] = self.config.model_dump(exclude_unset=True)
            context["own_optimizer"] = self.task.optimizer is not None
            result.summary["html"] = _write_report(self._run_dir, {**results, "report": result}, context)
        return result

    def _available(self) -> dict[str, StepResult]:
        """Return each step's result that there is, of this recipe or stored."""
        stored = {name: one.result for name in STEPS[:-1] if (one := self._load(name)) is not None}
        found = {**stored, **self._results}
        return {name: found[name] for name in STEPS[:-1] if name in found}

    def _is_stale(self, name: str) -> bool:
        stored = self._load(name) if name not in self._results else None
        return stored is not None and bool(changed(stored.made_from, self._made_from(name)))


def report_run_dir(path: str, command: str = "") -> StepResult:
    """Write the report of a run directory from its files alone; no task is loaded.

    Args:
        path: The run directory.
        command: The command line, for the report.

    Raises:
        RunDirError: If the directory holds no result, or cannot be written.
    """
    started = time.perf_counter()
    if not any((Path(path) / name).is_file() for name in FILES.values()):
        raise RunDirError(f"{path}: holds no result of lrtune ({', '.join(FILES.values())})")
    notes: list[str] = []
    run_dir = RunDir(path, notes.append)
    stored = {name: one for name in STEPS[:-1] if (one := run_dir.load(name)) is not None}
    if not stored:
        raise RunDirError(f"{path}: none of its results can be read: {'; '.join(notes)}")
    results = {name: one.result for name, one in stored.items()}
    result = loss_curves(results)
    origin = list(stored.values())[-1].made_from
    context = {**report_context(origin), "command": command}
    result.summary["html"] = _write_report(run_dir, {**results, "report": result}, context)
    result.seconds = time.perf_counter() - started
    return run_dir.save(result, origin)


def _write_report(run_dir: RunDir, results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    from lrtune.reports.files import write_report  # Altair takes longer to import than the first steps to run

    return write_report(run_dir, results, context)


def report_context(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of how its results were obtained, from what they were made from."""
    return {key: origin.get(key) for key in ("task", "device", "seed", "optimizer", "batch_size")}


def _blocked(name: str, failed: list[StepResult]) -> StepResult:
    """Return the result of a step that cannot begin because the step that it starts from has failed."""
    findings = [finding for result in failed for finding in result.findings if finding.severity == "error"]
    return StepResult(name, findings, {"best": None, "trials": []})
