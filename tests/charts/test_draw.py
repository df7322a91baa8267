from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import vl_convert

from lrtune.charts import PICTURES, chart, pictures, with_best_curve
from lrtune.charts.selection import TRIAL
from lrtune.charts.theme import themed
from lrtune.results import Curve, StepResult

if TYPE_CHECKING:
    from types import ModuleType

STEPS = ("check-init", "overfit", "find-lr", "coarse-grid", "refine-grid", "report")


def compiled(drawn: Any) -> dict[str, Any]:
    """Return the Vega specification, with every value in it plain JSON."""
    spec = json.loads(json.dumps(drawn.to_dict(), allow_nan=False))
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(spec)
    return vega


def is_picture(drawn: Any) -> bool:
    """Whether the chart becomes a PNG file of more than nothing."""
    png = vl_convert.vegalite_to_png(drawn.to_dict())
    return bytes(png[:8]) == b"\x89PNG\r\n\x1a\n" and len(png) > 1000


@pytest.mark.parametrize("step", STEPS)
def test_every_step_draws(made: ModuleType, step: str) -> None:
    """The charts of every step compile to Vega and to a picture."""
    results = made.recipe()
    for drawn in pictures(with_best_curve(results[step], results.values())).values():
        assert compiled(themed(drawn))["marks"]
        assert is_picture(themed(drawn))


NO_LOSS = {"lr": 0.1, "weight_decay": 0.1, "val_loss": None, "train_loss": None, "state": "complete"}
ODD = {
    "empty-check-init": lambda made: StepResult("check-init"),
    "check-init-no-band": lambda made: StepResult("check-init", summary={"initial_loss": 2.0}),
    "empty-overfit": lambda made: StepResult("overfit"),
    "overfit-negative-loss": lambda made: StepResult(
        "overfit",
        details={"members": [{"learning_rate": 0.1, "curve": "a", "diverged_at": None}]},
        curves={"a": Curve([-1.0, -2.0])},
    ),
    "overfit-late-start": lambda made: StepResult(
        "overfit",
        details={"members": [{"learning_rate": 0.1, "curve": "a", "diverged_at": 1}]},
        curves={"a": Curve([None, 1.0])},
    ),
    "empty-find-lr": lambda made: StepResult("find-lr"),
    "sweep-all-none": lambda made: StepResult(
        "find-lr", details={"learning_rates": [0.1], "sweeps": [{"smoothed": [None]}], "median": [None]}
    ),
    "sweep-of-one": lambda made: StepResult(
        "find-lr",
        summary={"suggestion": 0.1, "low": 0.1, "high": 0.1},
        details={"learning_rates": [0.1], "sweeps": [{"seed": 0, "smoothed": [2.0]}], "median": [2.0]},
    ),
    "empty-coarse": lambda made: StepResult("coarse-grid"),
    "no-loss": lambda made: StepResult("coarse-grid", summary={"best": None, "trials": [NO_LOSS]}),
    "lone-trial": lambda made: made.lone_trial(),
    "all-diverged": lambda made: made.all_diverged(),
    "all-diverged-refine": lambda made: made.all_diverged("refine-grid"),
    "no-validation": lambda made: made.grid(val=False),
    "refine-only-zero-decay": lambda made: StepResult(
        "refine-grid", summary={"trials": [{**NO_LOSS, "weight_decay": 0.0, "train_loss": 1.0}]}
    ),
    "empty-report": lambda made: StepResult("report"),
    "empty-run": lambda made: StepResult("run"),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
def test_odd_results_draw(made: ModuleType, make: Any) -> None:
    """A result with hardly anything in it is a chart all the same, if only one that says why it is empty."""
    drawn = chart(make(made))
    assert compiled(drawn)["marks"]
    assert is_picture(drawn)


def test_chart_of_run(made: ModuleType) -> None:
    """The chart of a run holds those of all its steps, linked by one selection."""
    run = StepResult("run", steps=list(made.recipe().values()))
    spec = chart(run).to_dict()
    assert len(spec["vconcat"]) == 11
    assert [parameter["name"] for parameter in spec["params"]] == [TRIAL]
    assert compiled(chart(run))["marks"]


@pytest.mark.parametrize("step", ["overfit", "coarse-grid", "refine-grid"])
def test_trials_share_a_selection(made: ModuleType, step: str) -> None:
    """Every chart that shows trials selects them by the name of their curve."""
    for drawn in pictures(made.recipe()[step]).values():
        (parameter,) = drawn.to_dict()["params"]
        assert parameter["name"] == TRIAL
        assert parameter["select"]["fields"] == ["curve"]


def test_best_curve_comes_from_the_grid(made: ModuleType) -> None:
    """The report's charts show the best trial's curve, which the grid holds."""
    results = made.recipe()
    shown = with_best_curve(results["report"], results.values())
    assert list(shown.curves) == [results["refine-grid"].summary["best"]["curve"]]


def test_valley_is_not_flattened(made: ModuleType) -> None:
    """The loss axis of a sweep that explodes to 1e9 still shows the valley."""
    result = made.find_lr()
    result.details["median"][-12:] = [1e9] * 12
    spec = pictures(result)["sweep"].to_dict()
    domains = [
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in spec["layer"]
        if "scale" in layer.get("encoding", {}).get("y", {})
    ]
    assert domains
    assert all(high < 5 for _, high in domains)


def test_picture_names_are_unique() -> None:
    """A chart's name identifies it within the table."""
    assert len({picture.name for picture in PICTURES}) == len(PICTURES)
