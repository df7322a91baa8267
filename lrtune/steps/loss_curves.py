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
    grids = [results[step] for step in _GRIDS if step in results]
    grid = next((grid for grid in grids if grid.summary.get("best") is not None), None)
    best: dict[str, Any] | None = grid.summary["best"] if grid else None
    curves = (
        {best["curve"]: grid.curves[best["curve"]]} if grid and best and best["curve"] in grid.curves else {}
    )
    return StepResult("report", [], {"html": None, "best": best}, curves=curves)
