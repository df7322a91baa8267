"""What a step's result was made from, so that a stale one is seen and the reason can be said."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from lrtune.results import STEPS, jsonable
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lrtune.config import Config
    from lrtune.results import StepResult
    from lrtune.task import Task

_COMMON = ("args", "seed", "batch_size", "optimizer", "precision")  # settings that every step reads
_WORDS = {"source": "the task's source", "optimizer_source": "the optimizer's source"}
_OWN = {"overfit": "overfit", "find-lr": "find_lr", "coarse-grid": "coarse", "refine-grid": "refine"}


def made_from(
    step: str,
    task: Task,
    config: Config,
    device: str,
    inputs: Mapping[str, StepResult],
    optimizer_sources: Sequence[Path] = (),
) -> dict[str, Any]:
    """Return what a step's result depends on, as plain values by name.

    Args:
        step: One of `STEPS`.
        task: Its name and the text of its files count.
        config: The settings.
        device: The device that is used in the end.
        inputs: Results that the step starts from; their summaries count.
        optimizer_sources: The files of an optimizer that the settings name by file.
    """
    settings = config.model_dump()
    parts: dict[str, Any] = {
        "lrtune": __version__,
        "task": task.name,
        "source": _source_digest(task),
        "device": device,
    }
    parts["own_optimizer"] = task.optimizer is not None
    if optimizer_sources:
        parts["optimizer_source"] = _digest(optimizer_sources)
    parts |= {key: settings[key] for key in _COMMON}
    if step in _OWN:
        parts[_OWN[step]] = settings[_OWN[step]]
    parts |= {name: fingerprint(result.summary) for name, result in inputs.items()}
    return {key: jsonable(value) for key, value in parts.items()}


def fingerprint(parts: Mapping[str, Any]) -> str:
    """Return 16 hexadecimal digits that change when anything in `parts` does."""
    text = json.dumps(jsonable(parts), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the names of the parts that differ, settings as the configuration names them."""
    names = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    # That a step starts from another no longer follows from a setting, which says more.
    telling = [name for name in names if name in now or name not in STEPS]
    names = telling or names
    return [_WORDS.get(name, name) for name in names]


def _source_digest(task: Task) -> str:
    """A task made in code has no file that says all: its results are fresh for that very object alone."""
    if not task.sources:
        return f"object {task.token}"
    return _digest(task.sources)


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
