from __future__ import annotations

from lrtune.charts.epochs import epochs_data
from lrtune.charts.heat_map import heat_map_data
from lrtune.charts.initial_loss import initial_loss_data
from lrtune.charts.loss_curves import loss_curves_data
from lrtune.charts.overfit import overfit_data
from lrtune.charts.sweep import sweep_data
from lrtune.charts.trial_scatter import trial_scatter_data
from lrtune.results import Curve, StepResult

GOOD = {
    "lr": 0.1,
    "weight_decay": 0.0,
    "val_loss": 0.5,
    "train_loss": 0.4,
    "metrics": {},
    "state": "complete",
    "seed": 0,
    "curve": "coarse-000",
}
LOST = {**GOOD, "lr": 1.0, "val_loss": None, "train_loss": None, "state": "diverged", "curve": "coarse-001"}
CURVES = {
    "coarse-000": Curve(
        [2.0, 1.0, 0.5],
        [
            {"epoch": 0, "step": 0, "train_loss": 2.0, "val_loss": 2.1},
            {"epoch": 1, "step": 3, "train_loss": 0.4, "val_loss": None},
        ],
    ),
    "coarse-001": Curve([2.0, 90.0, None], []),
}
GRID = StepResult("coarse-grid", summary={"best": GOOD, "trials": [GOOD, LOST]}, curves=CURVES)
HEAD = {"curve": "coarse-000", "lr": 0.1, "weight_decay": 0.0, "best": True}
LOST_HEAD = {"curve": "coarse-001", "lr": 1.0, "weight_decay": 0.0, "best": False}


def test_initial_loss() -> None:
    """The rows are the expected band, the mean with two standard errors to each side, and the batches."""
    result = StepResult(
        "check-init",
        summary={"initial_loss": 2.0, "expected_low": None, "expected_high": 2.5, "standard_error": 0.25},
        details={"batch_losses": [1.75, None, 2.25], "expectation": "ln 10"},
    )
    assert initial_loss_data(result) == [
        {"kind": "band", "low": None, "high": 2.5, "why": "ln 10"},
        {"kind": "mean", "row": "mean ± 2 standard errors", "loss": 2.0, "low": 1.5, "high": 2.5},
        {"kind": "batch", "row": "each batch", "loss": 1.75},
        {"kind": "batch", "row": "each batch", "loss": 2.25},
    ]


def test_overfit() -> None:
    """The rows are each rate's losses, where it diverged, and the loss to reach."""
    result = StepResult(
        "overfit",
        summary={"learning_rate": 0.1},
        details={
            "target": {"accuracy": None, "loss": 0.01, "reason": "floor"},
            "members": [
                {"learning_rate": 0.1, "curve": "overfit-000", "diverged_at": None},
                {"learning_rate": 9.0, "curve": "overfit-001", "diverged_at": 1},
            ],
        },
        curves={"overfit-000": Curve([2.0, 1.0]), "overfit-001": Curve([2.0, None])},
    )
    good = {"curve": "overfit-000", "lr": 0.1, "best": True}
    lost = {"curve": "overfit-001", "lr": 9.0, "best": False}
    assert overfit_data(result) == [
        {"kind": "loss", **good, "step": 0, "loss": 2.0},
        {"kind": "loss", **good, "step": 1, "loss": 1.0},
        {"kind": "loss", **lost, "step": 0, "loss": 2.0},
        {"kind": "diverged", **lost, "step": 0, "loss": 2.0},
        {"kind": "target", "loss": 0.01, "why": "floor"},
    ]


def test_sweep() -> None:
    """The rows are the repeats, their median, and what was found, as far as it was."""
    result = StepResult(
        "find-lr",
        summary={"suggestion": 0.1, "low": 0.01, "high": 0.1, "diverged_at": None},
        details={
            "learning_rates": [0.01, 0.1, 1.0],
            "sweeps": [{"seed": 7, "loss": [2.0, 1.0, None], "smoothed": [2.0, 1.5, None]}],
            "median": [2.0, 1.5, None],
        },
    )
    assert sweep_data(result) == [
        {"kind": "repeat", "seed": 7, "learning_rate": 0.01, "loss": 2.0},
        {"kind": "repeat", "seed": 7, "learning_rate": 0.1, "loss": 1.5},
        {"kind": "median", "learning_rate": 0.01, "loss": 2.0},
        {"kind": "median", "learning_rate": 0.1, "loss": 1.5},
        {"kind": "interval", "low": 0.01, "high": 0.1},
        {"kind": "suggestion", "learning_rate": 0.1},
    ]


def test_sweep_with_probes() -> None:
    """Trainings at one rate are rows in ascending order, told what they are; a diverged one has no loss."""
    rates = [
        {"learning_rate": 1.0, "loss": 7.0, "steps": 3, "state": "diverged"},
        {"learning_rate": 0.1, "loss": 0.5, "steps": 50, "state": "complete"},
        {"learning_rate": 0.2, "loss": 0.75, "steps": 20, "state": "stopped"},
        {"learning_rate": 0.0, "loss": 0.5, "steps": 50, "state": "complete"},
    ]
    result = StepResult(
        "find-lr",
        summary={"suggestion": None, "largest_stable": 0.3, "diverged_at": 0.9},
        details={
            "probes": {"steps": 50, "initial_loss": 2.0, "split": "validation data", "rates": rates},
            "rules": {},
        },
    )
    assert sweep_data(result) == [
        {
            "kind": "probes",
            "words": "loss on validation data after 50 steps at one rate",
            "initial_loss": 2.0,
        },
        {"kind": "probe", "learning_rate": 0.1, "loss": 0.5, "steps": 50, "state": "complete"},
        {"kind": "probe", "learning_rate": 0.2, "loss": 0.75, "steps": 20, "state": "stopped"},
        {"kind": "probe", "learning_rate": 1.0, "loss": None, "steps": 3, "state": "diverged"},
        {"kind": "stable", "learning_rate": 0.3},
        {"kind": "diverged", "learning_rate": 0.9},
    ]


def test_heat_map() -> None:
    """One row a cell in the order of the axes; a diverged one has no loss but a cross; seeds share a cell."""
    again = {**GOOD, "val_loss": 0.6, "seed": 1, "curve": "coarse-002"}
    result = StepResult("coarse-grid", summary={"best": GOOD, "trials": [GOOD, again, LOST]})
    shared = {"measure": "val_loss", "state": "complete"}
    assert heat_map_data(result) == [
        {**HEAD, **shared, "loss": 0.5, "label": "0.500", "trials": 2, "bright": True},
        {
            **LOST_HEAD,
            **shared,
            "state": "diverged",
            "loss": None,
            "label": "×",
            "trials": 1,
            "bright": False,
        },
    ]


def test_heat_map_without_validation() -> None:
    """Where no trial has a validation loss, the training loss ranks the cells."""
    result = StepResult("coarse-grid", summary={"best": None, "trials": [{**GOOD, "val_loss": None}]})
    (row,) = heat_map_data(result)
    assert (row["measure"], row["loss"], row["best"]) == ("train_loss", 0.4, False)


def test_scatter_gives_no_decay_a_place() -> None:
    """A weight decay of 0, which no logarithmic axis holds, lies below the smallest other one."""
    trials = [GOOD, {**GOOD, "weight_decay": 1e-4, "curve": "refine-001"}]
    rows = trial_scatter_data(StepResult("refine-grid", summary={"best": GOOD, "trials": trials}))
    assert [row["weight_decay"] for row in rows] == [0.0, 1e-4]
    assert [row["height"] for row in rows] == [1.995e-5, 1e-4]


def test_loss_curves() -> None:
    """The rows are the window, then each trial's description, losses, averages and end; the best trial last."""

    def point(kind: str, curve: str, step: int, loss: float) -> dict[str, object]:
        return {"kind": kind, "curve": curve, "step": step, "loss": loss}

    assert loss_curves_data(GRID) == [
        {"kind": "window", "window": 1},
        {"kind": "trial", **LOST_HEAD},
        *(point("point", "coarse-001", step, loss) for step, loss in enumerate((2.0, 90.0))),
        *(point("average", "coarse-001", step, loss) for step, loss in enumerate((2.0, 90.0))),
        point("diverged", "coarse-001", 1, 90.0),
        {"kind": "trial", **HEAD},
        *(point("point", "coarse-000", step, loss) for step, loss in enumerate((2.0, 1.0, 0.5))),
        *(point("average", "coarse-000", step, loss) for step, loss in enumerate((2.0, 1.0, 0.5))),
    ]


def test_epochs() -> None:
    """One row for every loss that was measured, none for those that were not."""
    assert epochs_data(GRID) == [
        {**HEAD, "epoch": 0.0, "split": "train", "loss": 2.0},
        {**HEAD, "epoch": 0.0, "split": "validation", "loss": 2.1},
        {**HEAD, "epoch": 1.0, "split": "train", "loss": 0.4},
    ]
