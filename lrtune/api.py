"""The recipe from Python: one function a step, in a notebook, a script or a test.

None of them changes the caller's models, data order or random state. Without a `run_dir` nothing is written.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.baseline_file import read_baseline
from lrtune.checking import BUDGET, checked, repeatable
from lrtune.config import Config
from lrtune.recipe import Recipe

if TYPE_CHECKING:
    from lrtune.progress import Progress
    from lrtune.results import StepResult
    from lrtune.task import Task


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


def check(
    task: Task,
    config: Config | None = None,
    progress: Progress | None = None,
    *,
    budget: float = BUDGET,
    keep_going: bool = False,
    baseline: str | None = None,
) -> StepResult:
    """Steps 1 to 3 anew, as `lrtune check` runs them; stops at the first that fails unless `keep_going`.

    Args:
        task: Model, data and loss.
        config: Settings; all have defaults. With `run_dir` the results are written there.
        progress: Told how far the work is.
        budget: Seconds; what is not done by then is skipped, with the finding `out-of-time`.
        keep_going: Do not stop at a step that fails.
        baseline: A file that `lrtune check --update-baseline` wrote; what has moved beyond noise is a finding.

    Returns:
        The result of the step `check`, with those of the three steps in `steps`.

    Raises:
        UsageError: If the task, the settings, the budget or the baseline cannot be used.
        UserCodeError: If the task's own code raises.
    """
    known = read_baseline(baseline, task, repeatable(config or Config())) if baseline else None
    return checked(task, config, progress, budget=budget, keep_going=keep_going, baseline=known)
