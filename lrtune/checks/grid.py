"""Checks of the two grids: their edges, and whether a gain is more than the noise of the seed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from lrtune.checks.catalogue import finding
from lrtune.results import axes_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.results import Finding

MATTERS = 0.02  # of the way from the initial to the best loss: below it an axis makes no difference
EXPLODED = 2.0  # times the initial loss, above it: seen are 1 + 0.1 for rates that learn nothing, 100 and up otherwise
_MEMORY = ("OutOfMemoryError", "out of memory", "MemoryError")
LEVEL = 0.05  # of the one-sided paired t-test of a gain


def has_exploded(initial: float | None, last: float | None, lowest: float | None) -> bool:
    """Say whether a training that stayed finite has diverged all the same.

    Its loss ends above where it began by more than twice the initial loss, and by more than twice all it ever fell: so
    losses near zero and below it are judged by their own scale. A rate that merely learns nothing stays below.

    Args:
        initial: Training loss (fixed subset) at initialisation.
        last: The same at the end.
        lowest: The lowest in between.
    """
    if initial is None or last is None or lowest is None:
        return False
    return last - initial > EXPLODED * max(abs(initial), initial - lowest)


def all_diverged(trials: Sequence[dict[str, Any]]) -> Finding | None:
    """Some trial stays finite."""
    if not trials or any(trial["state"] == "complete" for trial in trials):
        return None
    rates = [trial["lr"] for trial in trials]
    states = sorted({str(trial["state"]) for trial in trials})
    message = f"None of {len(trials)} trials completed ({', '.join(states)}); their rates run from {min(rates):.3g} to "
    return finding("all-diverged", message + f"{max(rates):.3g}.", len(trials), "0")


def trial_failed(
    failures: Sequence[tuple[str, Exception | str]], total: int, tries: int = 1, more: Sequence[str] = ()
) -> Finding | None:
    """The user's code raises in no trial.

    Args:
        failures: Settings, and what was raised in them.
        total: Of all trials.
        tries: How often the first of them was tried.
        more: What else is known of them, as sentences.
    """
    if not failures:
        return None
    settings, error = failures[0]
    often = f" (tried {tries} times)" if tries > 1 else ""
    said = ". ".join([str(error).removesuffix("."), " ".join(more)]) if more else str(error)
    message = f"{len(failures)} of {total} trials raised, first the one with {settings}{often}: {said}"
    held = isinstance(error, MemoryError) or any(words in str(error) for words in _MEMORY)
    fix = "Give it less to hold at once: a smaller batch_size, or a smaller model." if held else None
    return finding("trial-failed", message, len(failures), "0", fix)


def failed_trials(
    trials: Sequence[dict[str, Any]], labelled: Callable[[dict[str, Any]], str]
) -> Finding | None:
    """The user's code raises in no trial of a grid.

    Args:
        trials: The rows; those that failed say `error` and `tries`.
        labelled: Names a trial's settings.
    """
    failed = [trial for trial in trials if trial["state"] == "failed"]
    if not failed:
        return None
    told = [(labelled(trial), str(trial.get("error", "no reason is known"))) for trial in failed]
    where = failed[0].get("traceback")
    more = [f"All that have {common} failed, and no other." for common in _failing_axes(trials)]
    more += [f"Its traceback is in {where}."] if where else []
    return trial_failed(told, len(trials), int(failed[0].get("tries", 1)), more)


def _failing_axes(trials: Sequence[dict[str, Any]]) -> list[str]:
    """Return the values on further axes that all failed trials have, and none of the others."""
    failed = [axes_of(trial) for trial in trials if trial["state"] == "failed"]
    others = [axes_of(trial) for trial in trials if trial["state"] != "failed"]
    return [
        f"{name} {value}"
        for name, value in failed[0].items()
        if others
        and all(axes.get(name) == value for axes in failed)
        and all(axes.get(name) != value for axes in others)
    ]


def best_at_grid_edge(
    best: dict[str, Any], axis: str, values: Sequence[float], gain: float
) -> Finding | None:
    """The best value of an axis has neighbours on both sides.

    Args:
        best: The best trial.
        axis: `lr` or `weight_decay`.
        values: The values of the axis that completed or diverged, in ascending order.
        gain: How much better the best is than its inner neighbour, as a share of the whole drop of the loss.
    """
    if not at_edge(best[axis], values) or gain < MATTERS:
        return None
    side = "highest" if best[axis] == values[-1] else "lowest"
    name = "learning rate" if axis == "lr" else "weight decay"
    message = f"The best {name}, {best[axis]:.3g}, is the {side} of the grid; better ones may lie beyond."
    return finding("best-at-grid-edge", message, best[axis], f"inside {values[0]:.3g} to {values[-1]:.3g}")


def at_edge(value: float, values: Sequence[float]) -> bool:
    """Say whether a value is the first or the last of several; a weight decay of 0 has nothing below it."""
    return len(values) > 1 and value != 0 and value in (values[0], values[-1])


def no_validation_data(validated: bool) -> Finding | None:
    """The settings are chosen by the loss on data that were not trained on.

    Args:
        validated: Whether there are validation data.
    """
    if validated:
        return None
    message = (
        "There are no validation data: learning rate and weight decay are chosen by the loss on the training data, "
        "which no weight decay improves and overfitting only lowers."
    )
    return finding("no-validation-data", message, "Task.val is None", "validation data")


def refine_no_gain(settings: str, from_coarse: bool) -> Finding | None:
    """Some refined trial beats the coarse grid's best cell, trained for as many epochs.

    Args:
        settings: Of that cell.
        from_coarse: Whether it is the best trial.
    """
    if not from_coarse:
        return None
    message = (
        f"No refined trial beats the best cell of the coarse grid ({settings}) at the same number of epochs."
    )
    return finding("refine-no-gain", message, 0.0, "> 0")


def longer_is_no_better(
    before: float, epochs_before: int, best: float, epochs: int, settings: str
) -> Finding | None:
    """The search's best trial ends lower than the coarse grid's best cell did in the grid itself.

    Args:
        before: Loss of the coarse grid's best cell.
        epochs_before: For how many it was trained.
        best: Loss of the search's best trial.
        epochs: Of the search; with no more than before, equal epochs tell all there is to tell.
        settings: Names that cell's.
    """
    if not before < best or epochs <= epochs_before:
        return None
    message = (
        f"After {epochs} epochs no trial of the search is below the {before:.4g} that {settings} reached in the coarse "
        f"grid after {epochs_before}: the best has {best:.4g}, so longer training gains nothing here."
    )
    fix = (
        f"Stop where the validation loss is lowest: train for about {epochs_before} epochs "
        f"(--set refine.epochs={epochs_before} searches for them), or give the model more data or more weight decay."
    )
    return finding("refine-no-gain", message, best, f"< {before:.4g}", fix)


def within_seed_noise(coarse: Sequence[float], refined: Sequence[float]) -> Finding | None:
    """The refined setting is better than the coarse one by more than the seed changes.

    A one-sided paired t-test over the seeds (Student, "The probable error of a mean", 1908): the mean gain exceeds
    t(0.95, n - 1) standard errors.

    Args:
        coarse: Losses of the coarse grid's best cell, one a seed.
        refined: Losses of the refined best, same seeds.
    """
    if len(coarse) < 2:
        return None
    from scipy.special import (
        stdtrit,
    )  # SciPy takes longer to import than a check to run; only this one needs it

    gain, error = paired_gain(coarse, refined)
    limit = float(stdtrit(len(coarse) - 1, 1 - LEVEL)) * error
    if gain > limit:
        return None
    seeds = f"Over {len(coarse)} further seeds"
    if gain > -limit or gain == 0:
        found = (
            f"gains {gain:.3g} over the coarse one"
            if gain >= 0
            else f"is {-gain:.3g} worse than the coarse one"
        )
        message = (
            f"{seeds} the refined setting {found}, with a standard error of {error:.2g}: no more than chance."
        )
        return finding("within-seed-noise", message, gain, f"> {limit:.3g}")
    message = (
        f"{seeds} the refined setting is worse than the coarse one, by {-gain:.3g} with a standard error of "
        f"{error:.2g}: its lower loss in the search was that seed's luck."
    )
    fix = "Take the coarse setting, as lrtune does."
    return finding("within-seed-noise", message, gain, f"> {limit:.3g}", fix)


def paired_gain(coarse: Sequence[float], refined: Sequence[float]) -> tuple[float, float]:
    """Return the mean gain over seeds, and its standard error (0 with a single seed)."""
    gains = np.asarray(coarse, dtype=float) - np.asarray(refined, dtype=float)
    error = float(gains.std(ddof=1)) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
    return float(gains.mean()), error
