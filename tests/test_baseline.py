from __future__ import annotations

from typing import Any

import pytest
from programs import codes

from lrtune.baseline import Baseline, over_seeds, values_of
from lrtune.checks.catalogue import finding
from lrtune.results import StepResult

RATE = {"suggestion": 0.1, "low": 0.03, "high": 0.3, "largest_stable": 0.5, "diverged_at": 0.6}
VALUES: dict[str, dict[str, Any]] = {
    "check-init": {"initial_loss": 2.3, "standard_error": 0.01, "expected_low": 2.3, "expected_high": 2.3},
    "overfit": {"steps": 50, "learning_rate": 0.1, "loss_first": 2.3, "loss_last": 0.0},
    "find-lr": RATE | {"spacing": 1.2, "milliseconds_per_step": 1.0},
    "coarse-grid": {"loss": 0.1, "kind": "validation", "initial_loss": 2.3},
}
HERE = Baseline(VALUES, True, "b.json")


def result(step: str, **changes: Any) -> StepResult:
    """Return a step's result that is as the baseline has it, but for some numbers."""
    summary = {**VALUES[step], **changes}
    if step == "coarse-grid":
        best = {"val_loss": summary["loss"], "train_loss": 0.05}
        return StepResult(step, [], {"best": best, "trials": []}, details={"initial_loss": 2.3})
    if step == "find-lr":
        steps = {"gradient_steps": 1000}
        seconds, swept = summary.pop("milliseconds_per_step"), {"learning_rates": [1e-7, 1.2e-7]}
        return StepResult(step, [], summary | steps, seconds=seconds, details=swept)
    return StepResult(step, [], summary)


MOVED: dict[str, tuple[str, dict[str, Any], list[str]]] = {
    "loss": ("check-init", {"initial_loss": 20.0}, ["regression-initial-loss"]),
    "steps": ("overfit", {"steps": 300}, ["regression-overfit-steps"]),
    "rate": ("find-lr", {"suggestion": 0.01}, ["regression-learning-rate"]),
    "time": ("find-lr", {"milliseconds_per_step": 9.0}, ["regression-time"]),
    "coarse": ("coarse-grid", {"loss": 1.0}, ["regression-coarse-loss"]),
}


@pytest.mark.parametrize("step", VALUES)
def test_the_same_numbers_are_no_finding(step: str) -> None:
    """What is as it was adds no finding; what was compared stands in the details, as text."""
    seen = HERE.compared(result(step))
    assert codes(seen) == []
    rows = seen.details["baseline"]
    assert rows
    assert all(set(row) == {"code", "what", "baseline", "now", "allowed"} for row in rows)
    assert all(isinstance(value, str) for row in rows for value in row.values())


def test_less_effort_is_not_compared_with_more() -> None:
    """A slow machine tries fewer rates on less: its steps tell nothing of those of a fast one, its own are compared."""
    fast = StepResult("overfit", [], VALUES["overfit"], details={"members": [{}] * 9})
    slow = StepResult("overfit", [], VALUES["overfit"] | {"steps": 300}, details={"members": [{}] * 5})
    of_fast = Baseline(over_seeds([[fast]]), True, "b.json")
    (row,) = of_fast.compared(slow).details["baseline"]
    assert (row["now"], row["allowed"]) == ("300 at 5 rates", "not compared")
    assert codes(of_fast.compared(slow)) == []
    assert codes(Baseline(over_seeds([[slow]]), True, "b.json").compared(slow)) == []
    assert codes(HERE.compared(slow)) == ["regression-overfit-steps"]  # of before rates were counted


@pytest.mark.parametrize(("step", "changes", "found"), MOVED.values(), ids=MOVED)
def test_what_has_moved_is_a_finding(step: str, changes: dict[str, Any], found: list[str]) -> None:
    """The step's own result stays as it is: what is stored knows of no baseline."""
    before = result(step, **changes)
    assert codes(HERE.compared(before)) == found
    assert codes(before) == []
    assert "baseline" not in before.details


def test_a_move_that_is_explained_follows_from_its_cause() -> None:
    """Where the step has an error of its own, the regression stands beneath it."""
    broken = result("check-init", initial_loss=20.0)
    broken.findings.append(finding("initial-loss-high", "High."))
    own, moved = HERE.compared(broken).findings
    assert (own.follows_from, moved.follows_from) == (None, "initial-loss-high")


def test_times_of_another_machine_are_left_out() -> None:
    """They are not compared, and that is said; all else is."""
    there = Baseline(VALUES, False, "b.json")
    slow = result("find-lr", milliseconds_per_step=99.0)
    assert codes(there.compared(slow)) == []
    assert [row["code"] for row in there.compared(slow).details["baseline"]] == ["regression-learning-rate"]
    assert there.left_out(list(VALUES)) == "b.json: not compared: times are of another machine"
    assert HERE.left_out(list(VALUES)) == ""


def test_a_time_from_the_run_directory_is_none() -> None:
    """A result that was used again was not timed now."""
    again = result("find-lr", milliseconds_per_step=99.0)
    again.reused = True
    assert codes(HERE.compared(again)) == []


def test_steps_that_are_not_run_are_named() -> None:
    """What of the baseline is not compared is said."""
    assert (
        HERE.left_out(["check-init", "overfit", "find-lr"]) == "b.json: not compared: coarse-grid is not run"
    )


def test_losses_of_another_kind_are_not_compared() -> None:
    """A validation loss then and a training loss now tell nothing of each other."""
    grid = result("coarse-grid", loss=1.0)
    grid.summary["best"]["val_loss"] = None
    assert HERE.compared(grid).details["baseline"] == []


@pytest.mark.parametrize(
    "nothing",
    [
        StepResult("report", [], {"best": None}),
        StepResult("overfit", [], dict.fromkeys(VALUES["overfit"])),
        StepResult("coarse-grid", [], {"best": None, "trials": []}),
        StepResult("find-lr", [], dict.fromkeys(RATE), details={"skipped": "find-lr was not done"}),
        StepResult("find-lr", [], dict.fromkeys(RATE)),
    ],
    ids=["report", "nothing found", "all diverged", "not done", "no sweep"],
)
def test_without_numbers_nothing_is_compared(nothing: StepResult) -> None:
    """A step that no baseline holds, or that found nothing, stays the very same."""
    assert values_of(nothing) is None
    assert HERE.compared(nothing) is nothing


def test_seeds_tell_what_is_noise() -> None:
    """The numbers are the first seed's; how far all lie apart stands beside them, of rates as factors."""
    halved = {"suggestion": 0.05, "largest_stable": 0.25, "diverged_at": 0.3}
    runs = [
        [result("check-init"), result("overfit"), result("find-lr"), result("coarse-grid")],
        [result("check-init", initial_loss=2.8), result("overfit", steps=100), result("find-lr", **halved)],
        [result("check-init", initial_loss=2.1), result("overfit", steps=None), result("find-lr")],
    ]
    found = over_seeds(runs)
    assert found["check-init"] == VALUES["check-init"] | {"spread": pytest.approx(0.7)}
    assert found["overfit"] == VALUES["overfit"] | {"spread": 50}
    assert (found["find-lr"]["spread"], found["find-lr"]["range_spread"]) == (2.0, 2.0)
    assert found["coarse-grid"] == VALUES["coarse-grid"]
    assert "spread" not in over_seeds(runs[:1])["overfit"]
