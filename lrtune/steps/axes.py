"""Further axes of the coarse grid: what each name stands for, and the task made ready for a combination of values."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from lrtune.errors import ConfigError, did_you_mean
from lrtune.population.optimizers import optimizer_class
from lrtune.results import TRIAL_KEYS
from lrtune.task_file import load_function, load_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.config import Config
    from lrtune.steps.cells import Combination
    from lrtune.task import Task

_SEARCHED = ("lr", "weight_decay")
_GIVEN = 3  # model, learning rate and weight decay: what lrtune itself hands to an optimizer's function


class Axes:
    """The names of `coarse.axes`, each a place in the settings.

    Args:
        task: The user's task.
        config: The settings.
        folder: What relative paths in them start from.

    Raises:
        ConfigError: If a name stands for nothing, or for two things.
    """

    def __init__(self, task: Task, config: Config, folder: str | None) -> None:
        self._task = task
        self._config = config
        self._folder = folder
        self._places = {name: self._place(name) for name in config.coarse.axes}
        for index, size in enumerate(config.coarse.axes.get("batch_size", [])):
            if not isinstance(size, int) or isinstance(size, bool) or size < 1:
                raise ConfigError(
                    f"coarse.axes.batch_size[{index}]: must be a whole number of at least 1, found {size!r}"
                )

    @property
    def places(self) -> dict[str, str]:
        """Where each name stands in the settings: `batch_size`, `optimizer.momentum`, `args.hidden`."""
        return {name: f"{section}.{key}" if section else key for name, (section, key) in self._places.items()}

    def settings(self, combination: Combination) -> Config:
        """Return the settings with a combination's values in their places.

        Raises:
            ConfigError: If a value is none that its place takes.
        """
        given = self._config.model_dump(exclude_unset=True)
        for name, value in combination:
            section, key = self._places[name]
            if section is None:
                given[key] = value
            else:
                given[section] = {**self._config.model_dump()[section], **given.get(section, {}), key: value}
        try:
            return type(self._config)(**given)
        except ConfigError as error:
            raise ConfigError(f"coarse.axes: {error}") from None

    def task(self, combination: Combination) -> Task:
        """Return the task of a combination: made anew where its arguments differ."""
        if not any(self._places[name][0] == "args" for name, _ in combination):
            return self._task
        return load_task(self._task.name, self.settings(combination).args, self._folder)

    def _place(self, name: str) -> tuple[str | None, str]:
        if name == "batch_size":
            return None, name
        if name in TRIAL_KEYS:  # its value would stand where the row's own does
            meant = [f"{one}.{name}" for one in ("args", "optimizer") if name in self._names(one)]
            advice = (
                f"write {' or '.join(meant)}" if meant else "the task has no argument of that name either"
            )
            seeds = "; refine.seeds repeats the best settings under several seeds" if name == "seed" else ""
            raise ConfigError(
                f"coarse.axes.{name}: '{name}' is what a trial's row says of itself; {advice}{seeds}"
            )
        section, dot, key = name.partition(".")
        if dot and section in ("optimizer", "args"):
            found = [section] if key in self._names(section) else []
        else:
            section, key = "", name
            found = [one for one in ("optimizer", "args") if name in self._names(one)]
        if len(found) == 2:
            raise ConfigError(
                f"coarse.axes.{name}: both the optimizer and the task take '{name}'; write optimizer.{name} or "
                f"args.{name}"
            )
        if not found:
            raise ConfigError(f"coarse.axes.{name}: {self._unknown(section, key)}")
        return found[0], key

    def _names(self, section: str) -> list[str]:
        return self._arguments() if section == "args" else self._keywords()

    def _keywords(self) -> list[str]:
        if self._task.optimizer is not None:
            return []
        named = self._config.optimizer.name
        if ":" in named:
            known = _parameters(load_function(named, "optimizer", self._folder))[_GIVEN:]
        else:
            known = [one for one in _parameters(optimizer_class(named)) if one != "params"]
        return [
            *dict.fromkeys(one for one in (*known, *self._config.optimizer.keywords) if one not in _SEARCHED)
        ]

    def _arguments(self) -> list[str]:
        known = list(self._config.args)
        if self._task.sources:
            known += _parameters(load_function(self._task.name, "task", self._folder))
        return list(dict.fromkeys(known)) if self._task.sources else []

    def _unknown(self, section: str, key: str) -> str:
        if not self._task.sources and (section == "args" or key in self._config.args or not self._keywords()):
            return (
                "an axis over the task's arguments needs a task that is loaded by its name: this one was made in code. "
                "Name it in the config (task: file.py:make_task), or use lrtune.load_task"
            )
        known = ["batch_size", *self._keywords(), *self._arguments()]
        made_in_code = "" if self._task.sources else "; the arguments of a task made in code are no axes"
        return (
            "neither batch_size, nor a keyword of the optimizer, nor an argument of the task"
            f"{did_you_mean(key, known)} (known: {', '.join(known)}){made_in_code}"
        )


def _parameters(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a builtin without a signature
        return []
    return [one.name for one in parameters if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
