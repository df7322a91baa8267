from __future__ import annotations

from typing import TYPE_CHECKING

import vl_convert

from lrtune.charts.overlay import overlay_data, overlays
from lrtune.charts.theme import themed
from lrtune.results import Curve, StepResult

if TYPE_CHECKING:
    from types import ModuleType


def report(losses: list[float], val: float) -> StepResult:
    """Return a report of one trial."""
    best = {"lr": 0.1, "weight_decay": 0.0, "curve": "coarse-000"}
    row = {"epoch": 1, "step": len(losses), "train_loss": 0.5, "val_loss": val}
    return StepResult("report", summary={"best": best}, curves={"coarse-000": Curve(losses, [row])})  # type: ignore[list-item]


def test_rows_carry_their_run() -> None:
    """Each row says which run it is of; the best trial's losses stand by epoch and split."""
    runs = [("a", {"report": report([2.0], 0.7)}), ("b", {"report": report([3.0], 0.9)})]
    assert overlay_data(runs, "epochs") == [
        {"run": "a", "x": 1.0, "split": "train", "loss": 0.5},
        {"run": "a", "x": 1.0, "split": "validation", "loss": 0.7},
        {"run": "b", "x": 1.0, "split": "train", "loss": 0.5},
        {"run": "b", "x": 1.0, "split": "validation", "loss": 0.9},
    ]
    assert overlay_data(runs, "minibatches") == [
        {"run": "a", "x": 0, "loss": 2.0},
        {"run": "b", "x": 0, "loss": 3.0},
    ]


def test_all_three_are_drawn(made: ModuleType) -> None:
    """Of two whole runs there are three pictures, each of which compiles."""
    drawn = overlays([("a", made.recipe()), ("b", made.recipe())])
    assert set(drawn) == {"sweep"}  # the made-up report has no curve of its own
    for picture in drawn.values():
        assert vl_convert.vegalite_to_vega(themed(picture).to_dict())["marks"]


def test_what_one_run_lacks_is_not_drawn(made: ModuleType) -> None:
    """A picture of one run alone compares nothing."""
    assert overlays([("a", made.recipe()), ("b", {})]) == {}
