"""Trials, the rows of both grids' tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.checks.grid import has_exploded

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from lrtune.population.training import Run

Trial = dict[str, Any]
_FIXED_COLUMNS = ("epoch", "step", "train_loss", "val_loss")


def trial_of(run: Run, curve: str) -> Trial:
    """Return a finished run as the row that the JSON of a grid holds; `curve` names its training curve."""
    # Where a run diverged it ended with no finite loss: what its curve holds is from before.
    rows = [] if run.diverged else [row for row in run.curve.evaluations if row.get("train_loss") is not None]
    last = rows[-1] if rows else {}
    return {
        "lr": run.member.learning_rate,
        "weight_decay": run.member.weight_decay,
        "val_loss": None if run.diverged else run.last("val_loss"),
        "train_loss": None if run.diverged else run.last("train_loss"),
        "metrics": {name: value for name, value in last.items() if name not in _FIXED_COLUMNS},
        "steps": run.steps,
        "state": "failed" if run.failure else "diverged" if run.diverged or _exploded(run) else "complete",
        "seed": run.member.seed,
        "curve": curve,
    }


def _exploded(run: Run) -> bool:
    losses = [row["train_loss"] for row in run.curve.evaluations if row.get("train_loss") is not None]
    return bool(losses) and has_exploded(
        losses[0], losses[-1], min(loss for loss in losses if loss is not None)
    )


def rounded(value: float) -> float:
    """Return six significant digits: 0.316228, not 0.31622776601683794, is what a person copies."""
    return float(f"{value:.6g}")


def score(trial: Trial) -> float:
    """Return what a trial is judged by: validation loss, or training loss where nothing is validated."""
    loss = trial["val_loss"] if trial["val_loss"] is not None else trial["train_loss"]
    return math.inf if loss is None or trial["state"] != "complete" else float(loss)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials, best first; those that did not complete come last."""
    return sorted(
        trials, key=lambda trial: (score(trial), trial["state"], trial["lr"], trial["weight_decay"])
    )


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the best complete trial."""
    return min((trial for trial in trials if score(trial) < math.inf), key=score, default=None)


def labelled(trial: Trial) -> str:
    """Return a trial's settings for a sentence."""
    return f"lr {trial['lr']:.3g}, weight decay {trial['weight_decay']:.3g}"
