"""Step 6: what the curves of all trials say, and the settings to take away.

The curve that is judged is the answer's: that of the best trial of the latest grid. Other trials are not judged by
themselves (a grid is made of settings that are worse), but they tell whether what is wrong with the best is wrong with
the grid: whether a higher rate was tried, whether any trial gets a lower training loss, how many look the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lrtune.checks.curves.fit import overfitting, underfitting
from lrtune.checks.curves.progress import still_improving
from lrtune.checks.curves.setting import Setting
from lrtune.checks.curves.verdict import judge
from lrtune.probes.curves.reading import read_curve
from lrtune.results import GRIDS, Curve, StepResult

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import Finding
    from lrtune.steps.trials import Trial

_LATEST_FIRST = GRIDS[::-1]  # the later one has seen what the earlier one found
_HIGHER = 2.0  # times the best rate: neighbours of the coarse grid lie further apart
# What every trial of a grid may have in common, and tells of the grid's budget, model or data.
_COMMON = {"overfitting": overfitting, "underfitting": underfitting, "still-improving": still_improving}


def loss_curves(results: Mapping[str, StepResult]) -> StepResult:
    """Return the best setting of the latest grid, and what its curve says.

    Args:
        results: Of the steps before, by name; any may be missing.
    """
    grids = [results[step] for step in _LATEST_FIRST if step in results]
    grid = next((grid for grid in grids if grid.summary.get("best") is not None), None)
    best: Trial | None = grid.summary["best"] if grid else None
    curve = grid.curves.get(best["curve"]) if grid and best else None
    summary = {"html": None, "best": best}
    if grid is None or best is None or curve is None:
        return StepResult("report", [], summary)
    return StepResult("report", _findings(results, grid, best, curve), summary, curves={best["curve"]: curve})


def _findings(
    results: Mapping[str, StepResult], grid: StepResult, best: Trial, curve: Curve
) -> list[Finding]:
    reading = read_curve(curve)
    if reading is None:
        return []
    setting = _setting(results, grid, best, curve)
    return [_with_others(found, grid, best, setting) for found in judge(reading, setting)]


def _setting(results: Mapping[str, StepResult], grid: StepResult, best: Trial, curve: Curve) -> Setting:
    trials = grid.summary["trials"]
    everywhere = [
        trial for step in _LATEST_FIRST if step in results for trial in results[step].summary["trials"]
    ]
    lowest = [trial["train_loss"] for trial in trials if trial["train_loss"] is not None]
    epochs = int(grid.details.get("epochs") or max(len(curve.evaluations) - 1, 1))
    return Setting(
        refined=grid.step == "refine-grid",
        epochs=epochs,
        steps=max(1, len(curve.loss) // epochs),
        higher_rate_tried=any(trial["lr"] >= _HIGHER * best["lr"] for trial in everywhere),
        lowest_train_loss=min(lowest, default=None),
    )


def _with_others(found: Finding, grid: StepResult, best: Trial, setting: Setting) -> Finding:
    """Say how many of the other trials show the same, where that is a property of the grid."""
    check = _COMMON.get(found.code)
    others = [
        _evaluations_of(grid.curves[trial["curve"]])
        for trial in grid.summary["trials"]
        if trial["state"] == "complete" and trial["curve"] in grid.curves and trial["curve"] != best["curve"]
    ]
    if check is None or not others:
        return found
    alike = sum(reading is not None and check(reading, setting) is not None for reading in others)
    which = "all" if alike == len(others) > 1 else f"{alike} of"
    words = f"{which} {len(others)} other trials" if len(others) > 1 else "the other trial"
    return replace(found, message=f"{found.message} So it is in {words} of this grid.") if alike else found


def _evaluations_of(curve: Curve) -> Any:
    """Return the reading of a curve's evaluations: its steps are many, and say nothing more of these checks."""
    return read_curve(Curve([], curve.evaluations))
