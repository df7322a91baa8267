"""The file of a baseline: JSON to commit, whose changes read well in a pull request.

It holds what the numbers were made from. A baseline of another task or of other settings is refused: it would compare
unlike with unlike. The seed may be another, and the machine; what a seed changes is what the comparison allows.
"""

from __future__ import annotations

import json
import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrtune.atomic_file import write_atomically
from lrtune.baseline import KINDS, NUMBERS, Baseline, over_seeds
from lrtune.config import Config
from lrtune.data.device import resolve_device
from lrtune.errors import ConfigError, UsageError
from lrtune.results import jsonable
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.results import StepResult
    from lrtune.task import Task

SCHEMA = 1  # of the file; raised when a key changes its meaning
_SETTINGS = ("args", "batch_size", "optimizer", "precision")  # what every step reads
_OWN = {"overfit": "overfit", "find-lr": "find_lr", "coarse-grid": "coarse"}
_ADVICE = "write it anew with --update-baseline"
_DIGITS = 6  # of a number: the rest is noise, and hard to read
_MOST_SHOWN = 60  # characters of a value that is wrong

# A file to commit is a file to edit: the comparison divides by rates, and squares them.
_RATES = ("learning_rate", "suggestion", "low", "high", "largest_stable", "diverged_at")
_ABOVE_ZERO = (*_RATES, "spacing", "steps")
_NOT_NEGATIVE = ("standard_error", "spread", "range_spread", "milliseconds_per_step")
_LARGEST = 1e30


def read_baseline(path: str, task: Task, config: Config) -> Baseline:
    """Read the baseline of a task with its settings.

    Raises:
        UsageError: If it cannot be read, is none, or was made from another task or other settings.
    """
    raw = _read(path)
    if raw.get("schema") != SCHEMA:
        raise UsageError(
            f"{path}: has schema {raw.get('schema')!r}, written by lrtune {raw.get('lrtune')}; this is lrtune "
            f"{__version__}, which reads schema {SCHEMA}; {_ADVICE}"
        )
    try:
        values = {step: _checked(step, of) for step, of in raw["steps"].items()}
        _refuse_others(path, raw, _sections(values), task, config)
        return Baseline(values, raw["machine"] == machine(config), path)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else str(error)
        what = "it is a result that --json wrote" if "step" in raw else what
        raise UsageError(f"{path}: is no baseline of lrtune ({what}); {_ADVICE}") from None


def write_baseline(path: str, runs: Sequence[Sequence[StepResult]], task: Task, config: Config) -> None:
    """Write the numbers of the first run's steps, with how far those of all lie apart.

    Args:
        path: The file.
        runs: The steps' results, of each seed.
        task: What they are of.
        config: The settings of the first.

    Raises:
        UsageError: If it cannot be written.
    """
    values = over_seeds(runs)
    content = {
        "schema": SCHEMA,
        "lrtune": __version__,
        "task": _name_of(task),
        "settings": _settings(config, _sections(values)),
        "machine": machine(config),
        "steps": {step: {key: _rounded(value) for key, value in of.items()} for step, of in values.items()},
    }
    try:
        write_atomically(Path(path), (json.dumps(jsonable(content), indent=2) + "\n").encode())
    except OSError as error:
        raise UsageError(f"{path}: cannot be written: {error.strerror or error}") from error


def machine(config: Config) -> dict[str, Any]:
    """Return what times depend on, besides the program."""
    device = resolve_device(config.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": device.type,
        "name": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "execution": config.population.execution,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _read(path: str) -> dict[str, Any]:
    try:
        raw = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; --update-baseline writes a first one") from None
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: is no JSON ({error}); {_ADVICE}") from None
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: is no baseline of lrtune (a {type(raw).__name__}); {_ADVICE}")
    return raw


def _checked(step: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a step's values; raise `KeyError` or `ValueError` where one is missing or no number."""
    if step not in NUMBERS:
        raise ValueError(f"steps.{step}: no step of a baseline")
    for key in dict.fromkeys([*NUMBERS[step], *values]):
        value = values[key]
        if value is None and key not in NUMBERS[step]:  # not measured
            continue
        if wrong := _wrong(key, value):
            raise ValueError(f"steps.{step}.{key}: expected {wrong}, found {_short(value)}")
    return dict(values)


def _wrong(key: str, value: Any) -> str | None:
    """Return what a value should be and is not; None for one to compute with."""
    if key == "kind":
        return None if value in KINDS else " or ".join(KINDS)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return "a number"
    if not abs(value) <= _LARGEST:  # nor NaN
        return f"a number between -{_LARGEST:g} and {_LARGEST:g}"
    if key in _ABOVE_ZERO and value < 1 / _LARGEST:
        return f"a number above 0 (from {1 / _LARGEST:g})"
    return "a number of 0 or more" if key in _NOT_NEGATIVE and value < 0 else None


def _short(value: Any) -> str:
    text = repr(value) if not isinstance(value, int) or abs(value) <= _LARGEST else "a larger one"
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}..."


def _refuse_others(
    path: str, raw: Mapping[str, Any], sections: Sequence[str], task: Task, config: Config
) -> None:
    if raw["task"] != _name_of(task):
        raise UsageError(f"{path}: is of the task {raw['task']}, this is {_name_of(task)}; {_ADVICE}")
    try:
        then = _settings(Config(**raw["settings"]), sections)
    except ConfigError as error:
        raise UsageError(f"{path}: its settings are not those of this lrtune: {error}; {_ADVICE}") from None
    now = _settings(config, sections)
    if others := [f"{key}: {then[key]} there, {now[key]} here" for key in now if then[key] != now[key]]:
        raise UsageError(f"{path}: was made with other settings ({'; '.join(others)}); {_ADVICE}")


def _sections(values: Mapping[str, Any]) -> list[str]:
    return [*_SETTINGS, *(_OWN[step] for step in values if step in _OWN)]


def _settings(config: Config, sections: Sequence[str]) -> dict[str, Any]:
    settings: dict[str, Any] = jsonable(config.model_dump())
    return {key: settings[key] for key in sections}


def _name_of(task: Task) -> str:
    """Return file and function without the folder: where a checkout lies does not matter."""
    return task.name.replace("\\", "/").rpartition("/")[2]


def _rounded(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
