"""From the command line's CONFIG to a recipe that is ready to walk."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.errors import ConfigError
from lrtune.storage import shown_command, storage_from_environment

if TYPE_CHECKING:
    from lrtune.baseline import Baseline
    from lrtune.cli.options import Common
    from lrtune.cli.progress import Terminal
    from lrtune.config import Config
    from lrtune.recipe import Recipe
    from lrtune.task import Task

_RUNS = Path("lrtune-runs")
_YAML = (".yaml", ".yml")


@dataclass(frozen=True)
class Opened:
    """What a command works with.

    Attributes:
        task: Model, data and loss.
        config: The settings.
        folder: What relative paths in them start from; None for the working directory.
        progress: Told how far the work is.
        command: The command line, for the report.
    """

    task: Task
    config: Config
    folder: str | None
    progress: Terminal
    command: str

    def recipe(self) -> Recipe:
        """Return the recipe, ready to walk."""
        from lrtune.recipe import Recipe

        return Recipe(self.task, self.config, self.progress, self.folder, self.command)

    def baseline(self, path: str | None, updating: bool) -> Baseline | None:
        """Return the baseline to compare with; None where there is none, or it is to be written.

        Raises:
            UsageError: If it cannot be used.
        """
        if path is None or updating:
            return None
        from lrtune.baseline_file import read_baseline

        return read_baseline(path, self.task, self.config)


def open_recipe(config_argument: str, common: Common) -> Recipe:
    """Load configuration and task, and return the recipe; arguments and errors as for `open_task`."""
    return open_task(config_argument, common).recipe()


def open_task(config_argument: str, common: Common) -> Opened:
    """Load configuration and task.

    Args:
        config_argument: A YAML file or a task's name.
        common: Options that override the file.

    Raises:
        UsageError: If either is wrong.
        UserCodeError: If the task's code raises.
    """
    config, folder = read_config(config_argument, common)
    # Torch is imported here: a wrong config has been answered by now.
    from lrtune.cli.clock import work_begins
    from lrtune.cli.progress import Terminal
    from lrtune.random_state import seeded
    from lrtune.task_file import load_task

    assert config.task is not None
    with seeded(config.seed):  # data that the task draws or splits at random are the same in every run
        task = load_task(config.task, config.args, folder)
    work_begins()
    command = shown_command(["lrtune", *sys.argv[1:]])
    return Opened(task, config, folder, Terminal(common.quiet), command)


def read_config(config_argument: str, common: Common) -> tuple[Config, str | None]:
    """Return the settings, and the folder that the task's path starts from (None: the working directory).

    Where they name no storage, the environment variable does.

    Raises:
        ConfigError: If there is no such file, or it has faults.
    """
    from lrtune.config_file import config_from_overrides, load_config
    from lrtune.task_file import short_name

    overrides, options = common.overrides, _given(common)
    path = Path(config_argument)
    if path.is_file() and path.suffix != ".py":
        config, folder = load_config(path, overrides, options), str(path.parent)
        default = path.stem
    elif ":" in config_argument and path.suffix not in _YAML:
        config, folder = config_from_overrides(overrides, options, task=config_argument), None
        default = short_name(config_argument)
    else:
        raise ConfigError(_not_found(config_argument, path))
    config = config if config.run_dir else config.updated(run_dir=str(_RUNS / default))
    named = None if config.storage else storage_from_environment()
    return (config.updated(storage=named) if named else config), folder


def _given(common: Common) -> dict[str, str | int]:
    """Return the keys of the configuration that have an option of their own, where it is given."""
    given = {"device": common.device, "seed": common.seed, "run_dir": common.run_dir}
    return {key: value for key, value in given.items() if value is not None}


def _not_found(argument: str, path: Path) -> str:
    if path.suffix == ".py" and path.is_file():
        return f"{argument}: name the function too, such as {argument}:make_task"
    if path.is_dir():
        return f"{argument}: is a folder; CONFIG is a YAML file or a task such as model.py:make_task"
    return (
        f"{argument}: no such file; CONFIG is a YAML file or a task such as model.py:make_task "
        "(`lrtune init` writes a starter of both)"
    )
