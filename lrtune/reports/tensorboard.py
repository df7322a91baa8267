"""Trials as TensorBoard reads them: a run each, with its losses, its hyperparameters and what it reached.

TensorBoard's HParams tab shows a row a run from the summaries that `torch.utils.tensorboard` calls hparams
(https://docs.pytorch.org/docs/stable/tensorboard.html#torch.utils.tensorboard.writer.SummaryWriter.add_hparams).
"""

from __future__ import annotations

import tempfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import finite
from lrtune.charts.series import known, thin
from lrtune.charts.trials import curve_of, trials_of
from lrtune.errors import UsageError
from lrtune.reports.content import by_step, in_order
from lrtune.results import GRIDS, further_axes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from lrtune.results import Curve, StepResult

_POINTS = 1000  # a curve: TensorBoard itself draws a sample of a thousand
_LOSSES = {"train_loss": "loss/train", "val_loss": "loss/validation"}
_NOT_MEASURES = ("epoch", "step", *_LOSSES)


def check_target(directory: Path) -> None:
    """Refuse, before any work is done, what could not be written later; the directory is made.

    Raises:
        UsageError: If TensorBoard's writer is missing, or nothing can be written there.
    """
    if find_spec("tensorboard") is None:
        raise UsageError(
            "--tensorboard: the package tensorboard is not installed; "
            "python -m pip install tensorboard (or lrtune[tensorboard])"
        )
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(
            f"--tensorboard: cannot write to {directory}: {error.strerror or error}; choose another directory"
        ) from None


def write_events(results: Mapping[str, StepResult], directory: Path) -> int:
    """Write the trials of both grids; return how many.

    A trial is the run `<directory>/<trial>`: the scalars `loss/minibatch` by step (thinned, every spike kept),
    `loss/train`, `loss/validation` and the metrics by step, and its hyperparameters. Of an earlier export, only
    lrtune's own runs of the same names are replaced.

    Args:
        results: By step.
        directory: TensorBoard's `--logdir`; made when it is not there.

    Raises:
        OSError: If it cannot be written.
    """
    count = 0
    for step, trial, curve in _trials(results):
        folder = directory / curve_of(trial)
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob("events.out.tfevents.*"):  # TensorBoard would show both, one over the other
            old.unlink()
        _write_trial(folder, step, trial, curve)
        count += 1
    return count


def _trials(results: Mapping[str, StepResult]) -> Iterator[tuple[str, dict[str, Any], Curve | None]]:
    for step, result in in_order(by_step(results)).items():
        if step in GRIDS:
            for trial in trials_of(result):
                yield step, trial, result.curves.get(curve_of(trial))


def _write_trial(folder: Path, step: str, trial: dict[str, Any], curve: Curve | None) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(folder)) as writer:
        for tag, place, value in _scalars(curve) if curve else ():
            writer.add_scalar(tag, value, place)
        last = int(finite(trial.get("steps")) or 0)
        writer.add_hparams(_hyperparameters(step, trial), _reached(trial), run_name=".", global_step=last)


def _scalars(curve: Curve) -> Iterator[tuple[str, int, float]]:
    """Yield (tag, step, value); steps count from 1, as in the run directory's CSV files."""
    points = known(curve.loss)
    for i in thin([loss for _, loss in points], _POINTS):
        yield "loss/minibatch", points[i][0] + 1, points[i][1]
    for row in curve.evaluations:
        for key, value in row.items():
            measured = finite(value)
            if measured is not None and (key in _LOSSES or key not in _NOT_MEASURES):
                yield _LOSSES.get(key, f"metric/{key}"), int(row["step"] or 0), measured


def _hyperparameters(step: str, trial: Mapping[str, Any]) -> dict[str, Any]:
    axes = {axis: _plain(trial[axis]) for axis in further_axes([trial]) if trial[axis] is not None}
    known_axes = {"learning_rate": trial.get("lr"), "weight_decay": trial.get("weight_decay"), **axes}
    found = {key: value for key, value in known_axes.items() if value is not None}
    return {**found, "seed": trial.get("seed") or 0, "step": step, "state": str(trial.get("state"))}


def _plain(value: Any) -> bool | float | int | str:
    return value if isinstance(value, bool | int | float | str) else str(value)


def _reached(trial: Mapping[str, Any]) -> dict[str, float]:
    """Return what the HParams tab compares; a trial that diverged has nothing there."""
    losses = {f"reached/{key}": finite(trial.get(key)) for key in _LOSSES}
    metrics = {f"reached/{name}": finite(value) for name, value in (trial.get("metrics") or {}).items()}
    return {key: value for key, value in {**losses, **metrics}.items() if value is not None}
