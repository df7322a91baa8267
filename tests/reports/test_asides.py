from __future__ import annotations

from lrtune.reports.asides import asides
from lrtune.results import Curve, StepResult

BEST = {"lr": 0.1, "weight_decay": 0.0, "curve": "coarse-000", "state": "complete"}


def test_the_best_trial_by_epoch() -> None:
    """The losses of both charts of curves stand in a table: by epoch, with the moving average at its step."""
    rows = [
        {"epoch": 0, "step": 0, "train_loss": 2.0, "val_loss": 2.1, "accuracy": 0.1},
        {"epoch": 1, "step": 3, "train_loss": 0.5, "val_loss": None, "accuracy": 0.9},
    ]
    curve = Curve([2.0, 1.0, 0.5], rows)  # type: ignore[arg-type]
    result = StepResult("coarse-grid", summary={"best": BEST, "trials": [BEST]}, curves={"coarse-000": curve})
    (aside,) = asides(result)
    assert aside.title == "The best trial, coarse-000, by epoch"
    heads = ["epoch", "step", "training loss", "validation loss", "accuracy"]
    assert aside.table.columns == [*heads, "minibatch loss (moving average)"]
    assert [line.cells for line in aside.table.lines] == [
        ["0", "0", "2", "2.1", "0.1", "–"],
        ["1", "3", "0.5", "–", "0.9", "0.5"],
    ]


def test_long_series_are_cut_and_say_so() -> None:
    """Of 300 batches 31 stand in the table, the first and the last among them."""
    losses = [float(i) for i in range(300)]
    (aside,) = asides(StepResult("check-init", details={"batch_losses": losses}))
    assert aside.title == "Loss of each batch before training (31 of 300 batches)"
    assert len(aside.table.lines) == 31
    assert (aside.table.lines[0].cells, aside.table.lines[-1].cells) == (["1", "0"], ["300", "299"])


def test_nothing_to_show_is_no_table() -> None:
    """A result without series has no table beside its charts."""
    assert asides(StepResult("coarse-grid")) == []
    assert asides(StepResult("report", summary={"best": None})) == []
