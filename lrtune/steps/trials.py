"""Trials, the rows of both grids' tables."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.checks.grid import has_exploded
from lrtune.results import axes_of, judged_loss

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lrtune.population.training import Run
    from lrtune.results import Curve

Trial = dict[str, Any]
_FIXED_COLUMNS = ("epoch", "step", "train_loss", "val_loss")


def trial_of(run: Run, curve: str, axes: Mapping[str, Any] | None = None, tries: int = 1) -> Trial:
    """Return a finished run as the row that the JSON of a grid holds.

    Args:
        run: The training.
        curve: Names its training curve.
        axes: Its values on further axes of the grid.
        tries: How often it was trained; told of one that has failed, with what was raised.
    """
    # Where a run diverged it ended with no finite loss: what its curve holds is from before.
    rows = [] if run.diverged else [row for row in run.curve.evaluations if row.get("train_loss") is not None]
    last = rows[-1] if rows else {}
    return {
        "lr": run.member.learning_rate,
        "weight_decay": run.member.weight_decay,
        **(axes or {}),
        "val_loss": None if run.diverged else run.last("val_loss"),
        "train_loss": None if run.diverged else run.last("train_loss"),
        "metrics": {name: value for name, value in last.items() if name not in _FIXED_COLUMNS},
        "steps": run.steps,
        "state": _state(run),
        "seed": run.member.seed,
        "curve": curve,
        **({"last_loss": _last_loss(run)} if run.diverged else {}),
        **({"error": str(run.failure), "tries": tries} if run.failure else {}),
    }


def _last_loss(run: Run) -> float | None:
    """Return the last loss that was finite, of a run that diverged: how far it came."""
    loss = run.last("val_loss")
    return run.last("train_loss") if loss is None else loss


def _state(run: Run) -> str:
    if run.failure:
        return "failed"
    if run.diverged or _exploded(run):
        return "diverged"
    return "pruned" if run.pruned else "complete"


def _exploded(run: Run) -> bool:
    losses = [loss for row in run.curve.evaluations if (loss := row.get("train_loss")) is not None]
    return bool(losses) and has_exploded(losses[0], losses[-1], min(losses))


def rounded(value: float, digits: int = 6) -> float:
    """Return so many significant digits: 0.316228, not 0.31622776601683794, is what a person copies."""
    return float(f"{value:.{digits}g}")


def score(trial: Trial) -> float:
    """Return what a trial is judged by: validation loss, or training loss where nothing is validated."""
    loss = judged_loss(trial)
    return math.inf if loss is None or trial["state"] != "complete" else float(loss)


def ranked(trials: Iterable[Trial]) -> list[Trial]:
    """Return the trials, best first; those that did not complete come last, by state and by how far they came."""

    def place(trial: Trial) -> tuple[float, str, float, float, float]:
        loss = judged_loss(trial)
        reached = math.inf if loss is None else float(loss)
        return score(trial), trial["state"], reached, trial["lr"], trial["weight_decay"]

    return sorted(trials, key=place)


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Return the best complete trial."""
    return min((trial for trial in trials if score(trial) < math.inf), key=score, default=None)


def ended_at(curve: Curve) -> int:
    """Return the last epoch of a curve."""
    return max((int(row["epoch"] or 0) for row in curve.evaluations), default=0)


def labelled(trial: Trial) -> str:
    """Return a trial's settings for a sentence, with its values on further axes."""
    axes = [f"{name} {value}" for name, value in axes_of(trial).items()]
    return ", ".join([f"lr {trial['lr']:.3g}", f"weight decay {trial['weight_decay']:.3g}", *axes])


def counted(count: int, what: str) -> str:
    """Return how many there are, with the verb that follows.

    >>> counted(1, "trial"), counted(3, "trial")
    ('1 trial is', '3 trials are')
    """
    return f"{count} {what} is" if count == 1 else f"{count} {what}s are"
