"""Results as files for other tools: every trial as CSV, the numbers for `dvc metrics diff`, the best weights."""

from __future__ import annotations

import csv
import io
import json
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lrtune.errors import UsageError
from lrtune.results import GRIDS, axes_of, jsonable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.population.protocol import State
    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir

TRIALS, METRICS, WEIGHTS = "trials.csv", "metrics.json", "best.safetensors"
# In every file, in this order; further axes of the grid (axes.NAME) and metrics (metrics.NAME) come after.
_COLUMNS = (
    *("grid", "trial", "lr", "weight_decay", "seed", "state", "steps"),
    *("val_loss", "train_loss", "best", "tries", "error"),
)
_OF_WEIGHTS = ("grid", "curve", "lr", "weight_decay", "seed", "val_loss", "train_loss")  # tell whose they are
_LONGEST_HEADER = 100_000_000  # bytes; what the format's own readers accept
# In metrics.json: a step's numbers, by the name that each has there.
_NUMBERS = {
    "check-init": {"initial_loss": "initial_loss"},
    "overfit": {"overfit_loss": "loss_last", "overfit_accuracy": "accuracy"},
    "find-lr": {"suggestion": "suggestion", "suggestion_low": "low", "suggestion_high": "high"},
}
_OF_BEST = ("val_loss", "train_loss", "lr", "weight_decay", "steps")


def write_tables(run_dir: RunDir, results: Mapping[str, StepResult]) -> None:
    """Write both tables of the results that there are.

    Args:
        run_dir: Where to.
        results: By step.

    Raises:
        RunDirError: If a file cannot be written.
    """
    run_dir.write(TRIALS, trials_csv(results))
    run_dir.write(METRICS, json.dumps(metrics_of(results), indent=1) + "\n")


def trials_csv(results: Mapping[str, StepResult]) -> str:
    """Return all trials of both grids as CSV, a row each in the order of training; numbers are written in full."""
    grids = {step: results[step] for step in GRIDS if step in results}
    rows = [_row(step, trial, result) for step, result in grids.items() for trial in _in_order(result)]
    further = sorted({key for row in rows for key in row} - set(_COLUMNS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*_COLUMNS, *further], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _in_order(result: StepResult) -> list[dict[str, Any]]:
    return sorted(result.summary["trials"], key=lambda trial: str(trial["curve"]))


def _row(step: str, trial: Mapping[str, Any], result: StepResult) -> dict[str, Any]:
    best = result.summary.get("best") or {}
    plain = {key: trial[key] for key in _COLUMNS if trial.get(key) is not None}
    axes = {f"axes.{key}": value for key, value in axes_of(trial).items()}
    metrics = {f"metrics.{name}": value for name, value in trial["metrics"].items() if value is not None}
    own = {"grid": step.removesuffix("-grid"), "trial": trial["curve"]}
    return {**plain, **own, "best": int(trial["curve"] == best.get("curve")), **axes, **metrics}


def metrics_of(results: Mapping[str, StepResult]) -> dict[str, float]:
    """Return the numbers of the results, flat; what is not known has no entry.

    Without prefix stand those of the best trial of the latest grid that has one.
    """
    found: dict[str, Any] = {}
    for step, names in _NUMBERS.items():
        summary = results[step].summary if step in results else {}
        found |= {name: summary.get(key) for name, key in names.items()}
    for step in GRIDS:
        summary = results[step].summary if step in results else {}
        trials, best = summary.get("trials") or [], summary.get("best") or {}
        kind = step.removesuffix("-grid")
        found |= {f"{kind}_val_loss": best.get("val_loss"), f"{kind}_trials": len(trials) if trials else None}
        for state in ("complete", "diverged", "pruned", "failed") if trials else ():
            found[f"{kind}_{state}"] = sum(trial["state"] == state for trial in trials)
        if best:
            found |= {name: best.get(name) for name in _OF_BEST}
            found |= {f"metrics.{name}": value for name, value in best["metrics"].items()}
    return {name: value for name, value in found.items() if _is_number(value)}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def check_weights_can_be_saved() -> None:
    """Refuse to save weights where there is nothing to write them with, before anything is trained.

    Raises:
        UsageError: If safetensors is not installed.
    """
    if find_spec("safetensors") is None:
        raise UsageError(
            "--save-best: writes safetensors, which is not installed: python -m pip install 'lrtune[weights]'"
        )


def set_other_weights_aside(
    run_dir: RunDir, results: Mapping[str, StepResult], note: Callable[[str], object]
) -> None:
    """Rename the weights of a trial that is no longer the best: beside `best.yaml` they would be taken for its own.

    They get their trial's name. A file that says nothing of a trial is somebody else's and stays.

    Args:
        run_dir: Where they are.
        results: By step, all that there are; without a best trial among them nothing is renamed.
        note: Told what is renamed.
    """
    told = _trial_of(run_dir)
    grids = [step for step in reversed(GRIDS) if step in results and results[step].summary.get("best")]
    if told is None or not grids:
        return
    best = {"grid": grids[0], **jsonable(results[grids[0]].summary["best"])}
    if all(told.get(key) == best.get(key) for key in _OF_WEIGHTS):
        return
    old, new = run_dir.path / WEIGHTS, run_dir.path / f"{told.get('curve')}.safetensors"
    try:
        old.replace(new)
    except OSError as error:
        note(f"{old}: holds the weights of {told.get('curve')}, which is no longer the best trial ({error})")
        return
    note(
        f"{old} is now {new.name}: its trial is no longer the best; --save-best writes the weights of the one that is"
    )


def _trial_of(run_dir: RunDir) -> dict[str, Any] | None:
    """Return what the file of the weights says of its trial; None without a file that says it.

    The format: 8 bytes that hold the length of a header, then the header as JSON.
    """
    try:
        with (run_dir.path / WEIGHTS).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length < _LONGEST_HEADER else {}
        told = json.loads(header["__metadata__"]["lrtune"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return told if isinstance(told, dict) else None


def write_weights(
    run_dir: RunDir, state: State | None, told: Mapping[str, Any], note: Callable[[str], object]
) -> None:
    """Write a trial's weights as safetensors, and say where; a file of other weights does not stay behind.

    Args:
        run_dir: Where to.
        state: Parameters and buffers by name; None where the trial could not be trained once more.
        told: The trial's row and what it is of; kept in the file's metadata, as JSON by the name `lrtune`.
        note: Told what is written.

    Raises:
        RunDirError: If the file cannot be written.
    """
    if state is None:
        run_dir.remove(WEIGHTS)
        note("no weights are saved: the best trial did not complete when it was trained once more")
        return
    from safetensors.torch import save

    # One text: several would stand in the file in another order each time, and equal weights in unequal files.
    run_dir.write(WEIGHTS, save(dict(state), {"lrtune": json.dumps(jsonable(told))}))
    note(f"wrote the weights of the best trial ({told['curve']}) to {run_dir.path / WEIGHTS}")
