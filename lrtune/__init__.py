"""lrtune: is the training wired right, and which learning rate and weight decay?

The six steps of the recipe as functions of a `Task` and a `Config`, each returning a `StepResult`:
`check_init`, `overfit`, `find_lr`, `coarse_grid`, `refine_grid` and `report`; `run` walks them all, `check` the first
three for a pipeline, and `chart` draws a result. `lrtune.testing` has them as assertions for pytest.

Names are loaded when first used: `import lrtune` itself imports neither torch nor optuna.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lrtune import results as _results
from lrtune.version import __version__

if TYPE_CHECKING:
    from lrtune.api import check, check_init, coarse_grid, find_lr, overfit, refine_grid, report, run
    from lrtune.charts import chart
    from lrtune.config import Config
    from lrtune.config_file import load_config
    from lrtune.errors import ConfigError, LrtuneError, RunDirError, TaskError, UsageError, UserCodeError
    from lrtune.results import Curve, Finding, StepResult
    from lrtune.task import Task
    from lrtune.task_file import load_task

_HOMES = {
    "lrtune.charts": ("chart",),
    "lrtune.config": ("Config",),
    "lrtune.config_file": ("load_config",),
    "lrtune.errors": (
        "ConfigError",
        "LrtuneError",
        "RunDirError",
        "TaskError",
        "UsageError",
        "UserCodeError",
    ),
    "lrtune.api": (
        "check",
        "check_init",
        "coarse_grid",
        "find_lr",
        "overfit",
        "refine_grid",
        "report",
        "run",
    ),
    "lrtune.results": ("Curve", "Finding", "StepResult"),
    "lrtune.task": ("Task",),
    "lrtune.task_file": ("load_task",),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Config",
    "ConfigError",
    "Curve",
    "Finding",
    "LrtuneError",
    "RunDirError",
    "StepResult",
    "Task",
    "TaskError",
    "UsageError",
    "UserCodeError",
    "__version__",
    "chart",
    "check",
    "check_init",
    "coarse_grid",
    "find_lr",
    "load_config",
    "load_task",
    "overfit",
    "refine_grid",
    "report",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'lrtune' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME_OF[name]), name)


def _notebook_html(result: StepResult) -> str:
    html: str = importlib.import_module("lrtune.reports.notebook").render(result)
    return html


_results.notebook_html = _notebook_html


def __dir__() -> list[str]:
    return sorted(__all__)
