"""Step 6: what the curves of all trials say, and the settings to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Mapping

_GRIDS = ("refine-grid", "coarse-grid")  # the later one has seen what the earlier one found


def loss_curves(results: Mapping[str, StepResult]) -> StepResult:
    """Return the best setting of the latest grid.

    Args:
        results: Of the steps before, by name; any may be missing.
    """
    best = next((best for step in _GRIDS if (best := best_trial(results.get(step))) is not None), None)
    return StepResult("report", [], {"html": None, "best": best})


def best_trial(result: StepResult | None) -> dict[str, Any] | None:
    """Return a grid's best trial, None where there is none."""
    return None if result is None else result.summary.get("best")
