"""The pipeline step: steps 1 to 3 anew, within a budget of time, against a baseline.

What a gate guards includes what no fingerprint sees, such as the data or another version of torch. So nothing is taken
from a run directory. The command keeps nothing unless it is told to, for these results are not those of a
`run`: members are trained one by one.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from lrtune.checks.catalogue import finding
from lrtune.config import Config
from lrtune.deadline import BudgetSpentError, Deadline
from lrtune.errors import UsageError
from lrtune.progress import Silent
from lrtune.recipe import Recipe
from lrtune.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.baseline import Baseline
    from lrtune.progress import Progress
    from lrtune.task import Task

CHECKED = ("check-init", "overfit", "find-lr")
BUDGET = 120.0  # seconds; the examples take 2 to 40 on two cores

# What a step that was not done says: the keys that each has, see the design's table.
_NOTHING: dict[str, dict[str, Any]] = {
    "check-init": dict.fromkeys(
        ("initial_loss", "expected_low", "expected_high", "standard_error", "parameters")
    ),
    "overfit": dict.fromkeys(("loss_first", "loss_last", "accuracy", "learning_rate", "steps")),
    "find-lr": dict.fromkeys(("suggestion", "low", "high", "diverged_at", "confidence", "repeats")),
}


def checked(
    task: Task,
    config: Config | None = None,
    progress: Progress | None = None,
    *,
    budget: float = BUDGET,
    keep_going: bool = False,
    baseline: Baseline | None = None,
    on_step: Callable[[StepResult], None] = lambda result: None,
    folder: str | None = None,
    command: str = "",
) -> StepResult:
    """Run steps 1 to 3 anew; stop at the first that fails, and skip what the budget has no time for.

    Args:
        task: Model, data and loss.
        config: Settings.
        progress: Told how far the work is.
        budget: Seconds.
        keep_going: Do not stop at a step that fails.
        baseline: What the results are compared with.
        on_step: Told each step's result as soon as it is there.
        folder: What relative paths in the settings start from.
        command: The command line, for the report.

    Returns:
        The result of the step `check`, whose `steps` are those of the recipe; `summary` names those that were skipped
        and those that were not run after a failure.

    Raises:
        UsageError: If the budget is no time at all, or as for `Recipe`.
        UserCodeError: If the task's code raises.
    """
    if not budget > 0:
        raise UsageError(f"budget: expected seconds above 0, got {budget:g}")
    started = time.perf_counter()
    deadline = Deadline(progress or Silent(), budget)
    recipe = Recipe(task, repeatable(config or Config()), deadline, folder, command)
    if baseline is not None and (left_out := baseline.left_out(CHECKED)):
        deadline.note(left_out)
    done: list[StepResult] = []
    for name in CHECKED:
        result = _within_budget(recipe, name, deadline, budget)
        done.append(baseline.compared(result) if baseline else result)
        on_step(done[-1])
        if done[-1].verdict == "fail" and not keep_going:
            break
    summary = {
        "skipped": [result.step for result in done if result.details.get("skipped")],
        "not_run": list(CHECKED[len(done) :]),
        "budget": budget,
        "baseline": baseline.place if baseline else None,
    }
    findings = [found for result in done for found in result.findings]
    return StepResult(
        "check", findings, summary, time.perf_counter() - started, recipe.config.run_dir, steps=done
    )


def other_seeds(
    task: Task, config: Config, progress: Progress, folder: str | None = None
) -> list[list[StepResult]]:
    """Return what steps 1 to 3 find with two other seeds, for a baseline to know what is noise.

    Args:
        task: Model, data and loss.
        config: Settings; the seed is that of the run that they are to be compared with.
        progress: Told how far the work is.
        folder: What relative paths in the settings start from.
    """
    runs = []
    for seed in (config.seed + 1, config.seed + 2):
        progress.note(f"measuring with seed {seed}, to know what is noise")
        recipe = Recipe(task, config.updated(seed=seed, run_dir=None), progress, folder)
        results = [recipe.step(name) for name in CHECKED]
        runs.append([result for result in results if result.verdict != "fail"])
    return runs


def repeatable(config: Config) -> Config:
    """Return settings with which every run on a machine gives the same numbers, bit by bit.

    Which execution is the fastest is a matter of the moment, and they agree only up to rounding.
    """
    if config.population.execution != "auto":
        return config
    population = {**config.population.model_dump(exclude_unset=True), "execution": "serial"}
    return config.updated(population=population)


def _within_budget(recipe: Recipe, name: str, deadline: Deadline, budget: float) -> StepResult:
    started = time.perf_counter()
    try:
        deadline.check()
        return recipe.step(name)
    except BudgetSpentError:
        seconds = time.perf_counter() - started
        when = f"{seconds:.1f} s into it" if seconds > 0.1 else "before it began"
        message = f"{name} was not done: the budget of {budget:g} s was used up {when}."
        skipped = finding("out-of-time", message, budget, "enough time for every step")
        details = {"skipped": message}
        return StepResult(name, [skipped], dict(_NOTHING[name]), seconds, recipe.config.run_dir, details)
