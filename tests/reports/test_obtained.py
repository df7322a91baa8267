from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from lrtune.reports.obtained import gradient_steps, obtained_facts, obtained_table
from lrtune.results import Curve, StepResult

if TYPE_CHECKING:
    from types import ModuleType

TRIALS = [{"steps": 30, "curve": "a"}, {"steps": 12, "curve": "b"}]
RESULTS: dict[str, tuple[StepResult, int | None]] = {
    "told": (StepResult("find-lr", summary={"gradient_steps": 748}), 748),
    "grid": (StepResult("coarse-grid", summary={"best": TRIALS[0], "trials": TRIALS}), 42),
    "repeats": (
        StepResult(
            "refine-grid",
            summary={"best": TRIALS[0], "trials": TRIALS},
            details={"repeats": {"coarse": [1.0, 2.0], "refined": [1.0, 2.0]}},
        ),
        42 + 4 * 30,
    ),
    "members": (StepResult("overfit", curves={"a": Curve([1.0] * 5), "b": Curve([1.0] * 7)}), 12),
    "untrained": (StepResult("check-init"), None),
    "report": (StepResult("report", curves={"a": Curve([1.0])}), None),
}


@pytest.mark.parametrize(("result", "steps"), RESULTS.values(), ids=RESULTS)
def test_gradient_steps(result: StepResult, steps: int | None) -> None:
    """Steps are counted over all members and repeats; a step that trains nothing has none."""
    assert gradient_steps(result) == steps


def test_table_has_a_line_a_step_and_a_sum(made: ModuleType) -> None:
    """Time and gradient steps stand in a line for each step and in one for all."""
    table = obtained_table(made.recipe())
    assert [line.cells[0] for line in table.lines] == [*made.recipe(), "all"]
    assert table.lines[-1].cells[2] == "39,000"


def made_with(**how: Any) -> StepResult:
    """Return a result that was obtained so."""
    return StepResult("overfit", details={"environment": how})


def test_shared_versions_are_told_once() -> None:
    """What all steps have in common is one line; where they differ, each value says its steps."""
    old, new = {"versions": {"torch": "2.6"}}, {"versions": {"torch": "2.13"}}
    same = obtained_facts({"overfit": made_with(**old), "find-lr": made_with(**old)}, {})
    assert same == [("versions", "torch 2.6")]
    mixed = obtained_facts({"overfit": made_with(**old), "find-lr": made_with(**new)}, {})
    assert mixed == [("versions", "torch 2.6 (overfit)"), ("versions", "torch 2.13 (find-lr)")]


def test_results_of_older_versions_say_what_is_known() -> None:
    """Where nothing was kept, the version that writes the report is named."""
    assert obtained_facts({"overfit": StepResult("overfit")}, {"version": "0.1.0", "seed": 3}) == [
        ("seed", "3"),
        ("versions", "lrtune 0.1.0"),
    ]
