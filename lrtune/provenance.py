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

_OBJECT = "object "  # before the token of a task that was made in code
_COMMON = ("args", "seed", "batch_size", "optimizer", "precision")  # settings that every step reads
_WORDS = {
    "source": "the task's source",
    "optimizer_source": "the optimizer's source",
    "batches": "the DataLoader",
}
_SHARED = ("task", "source", "device", "own_optimizer", "optimizer_source", "batches", *_COMMON)
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
    if (batches := own_batches(task.train)) is not None:
        parts["batches"] = batches
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


def strangers(
    origins: Mapping[str, Mapping[str, Any]], summaries: Mapping[str, Mapping[str, Any]], answer: str
) -> dict[str, list[str]]:
    """Return the steps whose results do not belong with that of one of them, each with what it has of its own.

    Those belong that were made from the same task, settings and device, and that the answer was started from.

    Args:
        origins: By step: what its result was made from.
        summaries: By step: its result's summary.
        answer: The step that the others have to belong with.
    """
    found = {step: _differing(origin, origins[answer]) for step, origin in origins.items() if step != answer}
    started: str | None = answer
    while started is not None:  # the grids start from one step each
        before = next((name for name in STEPS if name in origins[started] and name in summaries), None)
        if before is not None and origins[started][before] != fingerprint(summaries[before]):
            found[before] = found[before] or [f"result ({started} was started from another)"]
        started = before
    return {step: names for step, names in found.items() if names}


def _differing(origin: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    return [
        _WORDS.get(key, key)
        for key in _SHARED
        if key in origin
        and key in other
        and origin[key] != other[key]
        and not _both_objects(key, origin, other)
    ]


def _both_objects(key: str, *origins: Mapping[str, Any]) -> bool:
    """Tasks made in code are other objects in every process, whether or not they are the same."""
    return key == "source" and all(str(origin[key]).startswith(_OBJECT) for origin in origins)


def own_batches(train: Any) -> dict[str, Any] | None:
    """Return the size of the batches that the training data bring (None: unknown); None where lrtune makes them."""
    from torch.utils.data import DataLoader, Dataset

    if isinstance(train, DataLoader):
        return {"size": train.batch_size or getattr(train.batch_sampler, "batch_size", None)}
    indexable = hasattr(train, "__getitem__") and hasattr(train, "__len__")
    if isinstance(train, Dataset) or (indexable and not isinstance(train, list | tuple)):
        return None
    return {"size": None}


def _source_digest(task: Task) -> str:
    """A task made in code has no file that says all: its results are fresh for that very object alone."""
    if not task.sources:
        return f"{_OBJECT}{task.token}"
    return _digest(task.sources)


def _digest(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
