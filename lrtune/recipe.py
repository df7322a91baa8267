"""The loop over the six steps: their order, what is fresh and what is stale, and where to stop.

A step's stored result is fresh as long as what it was made from is unchanged: the settings it reads, the source of
the task, and what its input steps found. Anything else runs again.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lrtune.config import Config
from lrtune.environment import environment
from lrtune.errors import ConfigError, TaskError, UsageError
from lrtune.exports import set_other_weights_aside, write_tables, write_weights
from lrtune.plan_file import PlanFile
from lrtune.population.machine import machine
from lrtune.progress import Silent
from lrtune.provenance import changed
from lrtune.reporting import report_context, write_page
from lrtune.results import GRIDS, STEPS, StepResult
from lrtune.run_dir import RunDir
from lrtune.shelf import Shelf
from lrtune.steps.check_init import check_init as _check_init
from lrtune.steps.find_lr import find_lr as _find_lr
from lrtune.steps.loss_curves import loss_curves
from lrtune.steps.overfit import overfit as _overfit
from lrtune.steps.weights import BestWeights, trained_again
from lrtune.storage import without_password
from lrtune.studies import Studies
from lrtune.task import Task, described
from lrtune.workshop import Workshop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lrtune.grids import Grids
    from lrtune.progress import Progress
    from lrtune.run_dir import Stored
    from lrtune.steps.context import Context


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
        ConfigError: If `config` is no `Config`, or the device is not there.
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
        if config is not None and not isinstance(config, Config):
            raise ConfigError(
                f"expected an lrtune.Config, got {described(config)}; write lrtune.Config(seed=1, ...)"
            )
        self.task = task
        self.config = config or Config()
        self.progress = progress or Silent()
        self._command = without_password(command)
        self._more = 0
        self._weights = BestWeights()
        self._workshop = Workshop(task, self.config, self.progress, folder, self._plans)
        if self.config.storage:
            from lrtune.study.driver import (
                check_driver,  # SQLAlchemy takes long to import, and is rarely needed
            )

            check_driver(self.config.storage)
        # Last, so that what is refused leaves no directory behind.
        self._run_dir = RunDir(self.config.run_dir, self.progress.note) if self.config.run_dir else None
        self._shelf = Shelf(
            task, self.config, str(self._workshop.device), self._workshop.sources, self._run_dir
        )

    def step(self, name: str, more: int = 0, save_best: bool = False) -> StepResult:
        """Run one step now; steps that it starts from run first where they are missing or stale.

        Args:
            name: One of `STEPS`.
            more: Of the refined search: trials to add to those that it has.
            save_best: Of a grid: write the weights of its best trial.

        Raises:
            UsageError: If there is no refined search of these settings to add trials to.
        """
        self._more, self._weights = more, BestWeights(save_best)
        if more and self._shelf.stored(name) is None:
            raise UsageError("--more: there is no refined search yet; begin one: lrtune grid --refine CONFIG")
        with self._working():
            result = self._computed(name)
            if save_best:
                self._save_best(name)
            return result

    def run(
        self,
        keep_going: bool = False,
        on_step: Callable[[StepResult], None] = lambda result: None,
        judge: Callable[[StepResult], StepResult] = lambda result: result,
        save_best: bool = False,
    ) -> StepResult:
        """Walk the recipe, using again what is fresh; after a failure the report still says how far it came.

        Args:
            keep_going: Do not stop at a step that fails.
            on_step: Told each step's result as soon as it is there.
            judge: Given each step's result, returns it with what else is found of it; what is stored stays without.
            save_best: Write the weights of the best trial.
        """
        self._weights = BestWeights(save_best)
        started = time.perf_counter()
        done: list[StepResult] = []
        with self._working():
            for name in STEPS[:-1]:
                done.append(judge(self._result(name)))
                on_step(done[-1])
                if done[-1].verdict == "fail" and not keep_going:
                    break
            last = self._reported()
            if len(done) == len(STEPS) - 1:
                done.append(last)
                on_step(last)
            if save_best:
                self._save_best(*reversed(GRIDS))
        findings = [finding for result in done for finding in result.findings]
        summary = {"best": last.summary["best"], "html": last.summary["html"]}
        seconds = time.perf_counter() - started
        return StepResult("run", findings, summary, seconds, self.config.run_dir, steps=done)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """The caller's surroundings are put back, and no other process works in the run directory."""
        locked = self._run_dir.locked() if self._run_dir else nullcontext()
        try:
            with locked, self._workshop.working():
                yield
        finally:
            if self._run_dir:
                self._run_dir.remove_if_empty()

    # --- one step -------------------------------------------------------------------------------------------------

    def _result(self, name: str) -> StepResult:
        """Return a step's result: of this recipe, else the stored one if it is fresh, else computed."""
        if name not in self._shelf.results:
            stored = self._shelf.stored(name)
            if stored is not None and self._is_fresh(name, stored):
                self.progress.note(f"{name}: nothing has changed, taken from {self.config.run_dir}")
                self._shelf.results[name] = stored.result
            else:
                self._computed(name)
        return self._shelf.results[name]

    def _is_fresh(self, name: str, stored: Stored) -> bool:
        differences = changed(stored.made_from, self._shelf.made_from(name, self._inputs(name)))
        if differences:
            self.progress.note(f"{name}: stale, because {', '.join(differences)} changed; running it again")
        elif not stored.complete:
            self.progress.note(f"{name}: was interrupted; going on where it stopped")
        return stored.complete and not differences

    def _computed(self, name: str) -> StepResult:
        if name == "report":
            self._input("coarse-grid", name)
            return self._reported()
        inputs = self._inputs(name)
        started = time.perf_counter()
        origin = self._shelf.made_from(name, inputs)
        failed = [result for result in inputs.values() if result.verdict == "fail"]
        result = _blocked(name, failed) if failed else self._ran(name, origin)
        result.seconds = time.perf_counter() - started
        result.details["environment"] = environment(self._command)
        if not failed:
            result.details["executions"] = self._workshop.told.reasons
        if self._run_dir:
            result = self._run_dir.save(result, origin, complete=not failed)
        self._shelf.results[name] = result
        if self._run_dir and name in GRIDS:
            fresh = self._shelf.fresh()
            write_tables(self._run_dir, fresh)
            self._set_other_weights_aside(self._run_dir, fresh)
        return result

    def _inputs(self, name: str) -> dict[str, StepResult]:
        """Return the results that a step starts from, running what is missing or stale."""
        return {input_name: self._input(input_name, name) for input_name in self._shelf.input_names(name)}

    def _input(self, name: str, of: str) -> StepResult:
        if name not in self._shelf.results and self._shelf.stored(name) is None:
            self.progress.note(f"{of} starts from {name}, which has no result yet: running {name} first")
        return self._result(name)

    def _ran(self, name: str, origin: Mapping[str, Any]) -> StepResult:
        run_step: dict[str, Callable[[Context], StepResult]] = {
            "check-init": _check_init,
            "overfit": _overfit,
            "find-lr": _find_lr,
            "coarse-grid": lambda context: self._grids().coarse(
                context, origin, self._suggestion(), self._shelf.stored(name)
            ),
            "refine-grid": lambda context: self._grids().refine(
                context, origin, self._result("coarse-grid"), self._shelf.stored(name), self._more
            ),
        }
        self._workshop.told.begin(name)
        with self._workshop.at(self._opened(origin)) as context:
            return run_step[name](context)

    def _opened(self, origin: Mapping[str, Any]) -> Context:
        self._weights = BestWeights(self._weights.wanted)
        context = replace(self._workshop.opened(), weights=self._weights, files=self._run_dir)
        if self._run_dir is None:
            return context
        run_dir = self._run_dir
        return replace(context, keep=lambda result: run_dir.save(result, origin, complete=False))

    def _plans(self) -> tuple[Any, ...]:
        """Return what a planner remembered in the run directory, and where it writes what it finds."""
        made_from = self._shelf.made_from("check-init", {}) | machine(self._workshop.device)
        plans = PlanFile(self._run_dir, made_from)
        return plans.read(), plans.write

    def _suggestion(self) -> float | None:
        return self._result("find-lr").summary["suggestion"] if self.config.coarse.lr == "auto" else None

    def _grids(self) -> Grids:
        # Optuna takes longer to import than the first steps to run.
        from lrtune.grids import Grids

        studies = Studies(self.task, self.config, self._run_dir, self.progress.alarm)
        return Grids(studies, self._workshop.variants, self._run_dir)

    def _save_best(self, *grids: str) -> None:
        """Write the weights of the best trial of the first of some grids that has one."""
        done = [
            result for name in grids if (result := self._shelf.results.get(name)) and result.summary["best"]
        ]
        if self._run_dir is None or not done:
            self.progress.note("no weights are saved: there is no best trial, or no run_dir to keep them")
            return
        best, epochs, weights = done[0].summary["best"], int(done[0].details["epochs"]), self._weights
        if weights.of(best) is None:
            combination = self._workshop.variants.best_of(done[0])
            with self._workshop.at(self._opened({}), combination) as context:
                weights = trained_again(context, best, epochs)
        told = {"task": self.task.name, "grid": done[0].step, "epochs": epochs, **best}
        write_weights(self._run_dir, weights.state, told, self.progress.note)

    def _set_other_weights_aside(self, run_dir: RunDir, fresh: Mapping[str, StepResult]) -> None:
        """Rename the weights of a trial that is best no more; not while a grid waits to be finished or run again."""
        if all(name in fresh for name in GRIDS if self._shelf.stored(name) is not None):
            set_other_weights_aside(run_dir, fresh, self.progress.note)

    # --- the report -----------------------------------------------------------------------------------------------

    def _reported(self) -> StepResult:
        """Report what is there and fresh; nothing is run."""
        started = time.perf_counter()
        fresh = self._shelf.fresh()
        stale = [name for name in STEPS[:-1] if name not in fresh and self._shelf.stored(name) is not None]
        result = loss_curves(fresh)
        origin = self._shelf.made_from("report", {})
        if self._run_dir:
            context = {**report_context(origin), "command": self._command, "stale": stale}
            context["config"] = self.config.model_dump(exclude_unset=True, exclude={"storage"})
            write_tables(self._run_dir, fresh)
            self._set_other_weights_aside(self._run_dir, fresh)
            result.summary["html"] = write_page(self._run_dir, {**fresh, "report": result}, context)
        result.seconds = time.perf_counter() - started
        return self._run_dir.save(result, origin) if self._run_dir else result


def _blocked(name: str, failed: list[StepResult]) -> StepResult:
    """Return the result of a step that cannot begin because the step that it starts from has failed."""
    findings = [finding for result in failed for finding in result.findings if finding.severity == "error"]
    return StepResult(name, findings, {"best": None, "trials": []})
