from __future__ import annotations

import pytest

from lrtune.charts import chart, later_rows, pictures
from lrtune.charts.crowd import first_drawn
from lrtune.charts.epochs import epochs_data
from lrtune.charts.loss_curves import loss_curves_data, loss_curves_later
from lrtune.results import Curve, StepResult


def grid(count: int, steps: int = 500) -> StepResult:
    """Return a grid whose trial `i` has one spike of `100 + i` at a step of its own."""
    curves, trials = {}, []
    for i in range(count):
        name = f"refine-{i:03d}"
        losses = [1.0] * steps
        losses[(37 * i + 11) % steps] = 100.0 + i
        evaluations = [{"epoch": 1, "step": steps, "train_loss": 1.0 + i, "val_loss": 2.0 + i}]
        curves[name] = Curve(losses, evaluations)  # type: ignore[arg-type]
        trials.append({"lr": 0.01 * (1 + i), "weight_decay": 0.0, "curve": name, "train_loss": 1.0 + i})
    return StepResult("refine-grid", summary={"best": trials[0], "trials": trials}, curves=curves)


@pytest.mark.parametrize(("count", "drawn"), [(1, 1), (30, 30), (31, 30), (500, 30)])
def test_how_many_are_drawn(count: int, drawn: int) -> None:
    """A few trials are all drawn; of many the best fifteen are, and others up to the last."""
    names = [f"t{i}" for i in range(count)]
    first = first_drawn(names)
    assert len(first) == drawn
    assert {*names[:15], names[-1]} <= first


@pytest.mark.parametrize("count", [20, 100])
def test_no_spike_is_lost(count: int) -> None:
    """A spike of a single step is among the points of its trial, drawn at once or later."""
    result = grid(count)
    spikes = {row["curve"]: row["loss"] for row in loss_curves_data(result) if row.get("loss", 0) > 99}
    for parts in loss_curves_later(result).values():
        spikes |= {row["curve"]: row["loss"] for row in parts["point"] if row["loss"] > 99}
    assert spikes == {f"refine-{i:03d}": 100.0 + i for i in range(count)}


def test_first_and_later_are_all() -> None:
    """No trial is in neither part, and none is in both."""
    result = grid(100)
    now = {row["curve"] for row in epochs_data(result)}
    later = later_rows(result)
    assert set(later) == {"epochs", "loss-curves"}
    for rows in later.values():
        assert now & set(rows) == set()
        assert len(now) + len(rows) == 100


def test_later_rows_fit_the_data_they_join() -> None:
    """The rows of a trial that joins have the keys of the data that carries their name in the chart."""
    result = grid(40)
    spec = pictures(result)["loss-curves"].to_dict()
    held = {layer["data"]["name"]: layer["data"]["values"] for layer in spec["layer"]}
    for parts in loss_curves_later(result).values():
        for name, rows in parts.items():
            assert set(rows[0]) == set(held[name][0])


def test_few_have_nothing_later() -> None:
    """Where all trials are drawn there is nothing to join, and the caption has no word of it."""
    assert later_rows(grid(30)) == {}
    assert "of 30 trials" not in str(pictures(grid(30))["loss-curves"].to_dict()["title"])
    assert "30 of 100 trials" in str(pictures(grid(100))["loss-curves"].to_dict()["title"])


def test_data_of_several_charts_stay_apart() -> None:
    """In one picture of a whole run no two charts share data by name."""
    run = StepResult("run", steps=[grid(2), grid(3)])
    spec = str(chart(run).to_dict())
    assert "'name': 'point'" not in spec
