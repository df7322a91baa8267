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
    "sweep-of-probes-alone": lambda made: StepResult(
        "find-lr", details={"probes": {"rates": [{"learning_rate": 0.1, "loss": 2.0}]}}
    ),
    "sweep-all-diverged": lambda made: StepResult(
        "find-lr",
        summary={"suggestion": None, "diverged_at": 1e-9},
        details={
            "learning_rates": [1e-9, 1e3],
            "sweeps": [{"seed": 0, "loss": [2.0, None]}],
            "median": [2.0, None],
            "probes": {"rates": [{"learning_rate": 1e3, "loss": None, "state": "diverged"}]},
        },
    ),
    "sweep-explodes-at-once": lambda made: StepResult(
        "find-lr",
        details={"learning_rates": [0.1, 0.2, 0.3], "sweeps": [], "median": [-2.0, 1e300, 1e300]},
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
    result = made.probed()
    result.details["median"][-12:] = [1e9] * 12
    spec = pictures(result)["sweep"].to_dict()
    domains = [
        layer["encoding"]["y"]["scale"]["domain"]
        for layer in spec["layer"]
        if "scale" in layer.get("encoding", {}).get("y", {})
    ]
    assert domains
    assert all(high < 5 for _, high in domains)


def layers_of(drawn: Any) -> list[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Return each layer's specification with the rows that it draws."""
    spec = drawn.to_dict()
    kept = spec.get("datasets", {})
    data = (layer["data"] for layer in spec["layer"])
    rows = [one["values"] if "values" in one else kept[one["name"]] for one in data]
    return list(zip(spec["layer"], rows, strict=True))


def marks(drawn: Any) -> list[tuple[str, int]]:
    """Return the kind of each layer's mark and how many rows it draws."""
    return [(layer["mark"]["type"], len(rows)) for layer, rows in layers_of(drawn)]


def test_probes_are_points_and_crosses(made: ModuleType) -> None:
    """A finished training is a point, one that diverged a cross at the upper edge; the subtitle explains both."""
    drawn = pictures(made.probed())["sweep"]
    assert marks(drawn)[-2:] == [("point", 6), ("text", 2)]
    subtitle = " ".join(drawn.to_dict()["title"]["subtitle"])
    assert "points: loss on the training subset after 100 steps at one rate" in subtitle
    assert subtitle.endswith("×\u00a0diverged")


def test_probes_above_the_window(made: ModuleType) -> None:
    """A finished training whose loss is far above stands as a triangle at the edge, and one stopped is hollow."""
    result = made.probed()
    rates = result.details["probes"]["rates"]
    rates[0]["loss"] = 1e12
    rates[1]["state"] = "stopped"
    layers = layers_of(pictures(result)["sweep"])[-4:]
    assert [layer["mark"].get("filled") for layer, _ in layers] == [True, False, True, None]
    assert layers[2][0]["mark"]["shape"] == "triangle-up"
    assert [len(rows) for _, rows in layers] == [4, 1, 1, 2]


def test_old_sweep_has_no_probes(made: ModuleType) -> None:
    """A result of a version without them is drawn without a word of them."""
    drawn = pictures(made.find_lr())["sweep"]
    assert "points" not in " ".join(drawn.to_dict()["title"]["subtitle"])
    assert marks(drawn)[-1] == ("text", 1)  # the label of the last rule


def test_a_curve_leaves_the_window(made: ModuleType) -> None:
    """A line ends at the upper edge where it leaves the window, instead of running along it."""
    result = made.find_lr()
    result.details["median"][-12:] = [1e9] * 12
    layers = layers_of(pictures(result)["sweep"])
    line = next(rows for layer, rows in layers if layer["mark"].get("strokeWidth") == 3)
    shown = [row["shown"] for row in line]
    assert shown.count(None) == 11
    assert None not in shown[:-11]


@pytest.mark.parametrize(
    "rates", [(0.05, 0.6, 1.6), (1.2, 1.4, 1.6), (1e-7, 1.1e-7, 1.2e-7), (0.1, 0.1, 0.1)]
)
def test_labels_of_the_rules(made: ModuleType, rates: tuple[float, float, float]) -> None:
    """Each rate found has a rule and a label in a row of its own, however close they lie."""
    result = made.probed()
    result.summary |= dict(zip(("suggestion", "largest_stable", "diverged_at"), rates, strict=True))
    layers = layers_of(pictures(result)["sweep"])
    texts = [
        (layer, rows[0]) for layer, rows in layers if layer["mark"]["type"] == "text" and "label" in rows[0]
    ]
    assert len({layer["encoding"]["y"]["value"] for layer, _ in texts}) == 3
    words = [row["label"].rpartition(" ")[0] for _, row in texts]
    assert words == ["suggested", "stable up to", "diverged at"]


def test_picture_names_are_unique() -> None:
    """A chart's name identifies it within the table."""
    assert len({picture.name for picture in PICTURES}) == len(PICTURES)
