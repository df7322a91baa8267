"""What is said of a refined search: of its trials, of its gain over the coarse grid, and of what the seed does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks import grid as checks
from lrtune.steps.trials import best_of, labelled, score

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.results import Finding, StepResult
    from lrtune.steps.repeats import Repeats
    from lrtune.steps.trials import Trial


def refine_findings(
    rows: Sequence[Trial],
    cell: Trial | None,
    grid: StepResult | None,
    epochs: int,
    validated: bool,
    repeats: Repeats,
) -> list[Finding]:
    """Judge a search.

    Args:
        rows: Its trials.
        cell: The one of them that is the coarse grid's best cell, trained for as long as the others.
        grid: The coarse grid's result, None for who only works on the search.
        epochs: Of the search.
        validated: Whether there are validation data.
        repeats: Of the best trial and that cell, over seeds.
    """
    judged = [
        checks.all_diverged(rows),
        checks.failed_trials(rows, labelled),
        checks.no_validation_data(validated),
        _gain(best_of(rows), cell, grid, epochs),
        repeats.judged(),
    ]
    return [one for one in judged if one]


def _gain(best: Trial | None, cell: Trial | None, grid: StepResult | None, epochs: int) -> Finding | None:
    """The search beats the coarse grid: its best cell at equal epochs, and what that cell had reached by then."""
    if best is None or cell is None:
        return None
    found = checks.refine_no_gain(labelled(cell), best["curve"] == cell["curve"])
    before = grid.summary["best"] if grid else None
    if grid is None or not before:
        return found
    longer = checks.longer_is_no_better(
        score(before), int(grid.details["epochs"]), score(best), epochs, labelled(before)
    )
    return longer or found
