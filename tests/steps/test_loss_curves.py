from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lrtune.results import Curve, StepResult
from lrtune.steps.loss_curves import loss_curves

EPOCHS, STEPS = 15, 300


def falling(lives: float, floor: float = 0.1) -> Curve:
    """An exponential with so many time constants, validation a little above."""
    level = 2.2 * np.exp(-lives * np.arange(STEPS + 1) / STEPS) + floor
    rows: list[dict[str, float | int | None]] = [
        {
            "epoch": epoch,
            "step": 20 * epoch,
            "train_loss": level[20 * epoch],
            "val_loss": level[20 * epoch] + 0.02,
        }
        for epoch in range(EPOCHS + 1)
    ]
    return Curve([float(loss) for loss in level[:-1]], rows)


def grid(step: str, curves: dict[str, tuple[float, Curve]]) -> StepResult:
    """A grid's result of named rates and curves, the first of which is the best."""
    trials: list[dict[str, Any]] = [
        {
            "lr": lr,
            "weight_decay": 0.0,
            "val_loss": curve.evaluations[-1]["val_loss"],
            "train_loss": curve.evaluations[-1]["train_loss"],
            "metrics": {},
            "steps": STEPS,
            "state": "complete",
            "seed": 0,
            "curve": name,
        }
        for name, (lr, curve) in curves.items()
    ]
    kept = {name: curve for name, (_, curve) in curves.items()}
    return StepResult(
        step, summary={"best": trials[0], "trials": trials}, details={"epochs": EPOCHS}, curves=kept
    )


def codes(*grids: StepResult) -> list[str]:
    """What step 6 says of some grids."""
    return [found.code for found in loss_curves({one.step: one for one in grids}).findings]


def test_without_a_grid_nothing_is_said() -> None:
    """Neither is there an answer nor a curve."""
    assert loss_curves({}).findings == []
    none = StepResult("coarse-grid", summary={"best": None, "trials": []})
    assert loss_curves({"coarse-grid": none}).findings == []


def test_an_answer_whose_curve_is_lost_is_kept() -> None:
    """The best setting is told, though nothing can be said of its training."""
    lost = grid("refine-grid", {"a": (0.1, falling(9))})
    lost.curves.clear()
    result = loss_curves({"refine-grid": lost})
    assert result.summary["best"]["lr"] == 0.1
    assert (result.findings, result.curves) == ([], {})


def test_the_latest_grids_best_is_judged() -> None:
    """The coarse grid's curve is not looked at where the refined search has an answer."""
    coarse, refined = (
        grid("coarse-grid", {"c": (0.1, falling(2))}),
        grid("refine-grid", {"r": (0.1, falling(9))}),
    )
    assert codes(coarse, refined) == ["converged"]
    assert codes(coarse) == ["still-improving"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        pytest.param([], "", id="alone"),
        pytest.param([9.0], "", id="another that has converged"),
        pytest.param([2.0], "So it is in the other trial of this grid.", id="the other as well"),
        pytest.param([2.0, 2.0, 9.0], "So it is in 2 of 3 other trials of this grid.", id="some"),
        pytest.param([2.0, 2.0], "So it is in all 2 other trials of this grid.", id="all"),
    ],
)
def test_how_many_others_show_the_same(others: list[float], words: str) -> None:
    """A verdict on the best says whether the whole grid is that way."""
    curves = {"best": (0.1, falling(2))} | {f"t{i}": (0.1, falling(lives)) for i, lives in enumerate(others)}
    (found,) = loss_curves({"refine-grid": grid("refine-grid", curves)}).findings
    assert found.code == "still-improving"
    assert found.message.endswith(words or "of the whole fall.")


def test_a_higher_rate_of_either_grid_counts() -> None:
    """A line is not blamed on a low rate when the coarse grid tried a higher one."""
    refined = grid("refine-grid", {"r": (0.01, falling(0.3, floor=1.0))})
    assert codes(refined) == ["slow-descent", "still-improving"]
    assert codes(refined, grid("coarse-grid", {"c": (0.03, falling(9))})) == ["still-improving"]


def test_a_trial_that_gets_lower_shows_the_capacity() -> None:
    """A plateau of the best is no underfitting where a worse trial has a far lower training loss."""
    high = falling(12, floor=3.0)
    assert codes(grid("refine-grid", {"a": (0.1, high)})) == ["underfitting"]
    assert codes(grid("refine-grid", {"a": (0.1, high), "b": (0.1, falling(9))})) == ["converged"]


def test_a_curve_file_of_no_use_is_no_crash() -> None:
    """A curve of one evaluation, or of none, says nothing."""
    assert codes(grid("refine-grid", {"a": (0.1, Curve([1.0], falling(9).evaluations[:1]))})) == []
