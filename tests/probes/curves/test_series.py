from __future__ import annotations

import math

import numpy as np

from lrtune.probes.curves.series import series_of
from lrtune.results import Curve


def row(epoch: int, train: float | None, val: float | None = None) -> dict[str, float | int | None]:
    """One evaluation."""
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": train, "val_loss": val}


def test_numbers_as_they_are() -> None:
    """Losses and evaluations become arrays; nothing has ended."""
    series = series_of(Curve([3.0, 2.0], [row(0, 3.0, 3.5), row(1, 2.0, 2.5)]))
    assert series.loss.tolist() == [3.0, 2.0]
    assert series.train.tolist() == [3.0, 2.0]
    assert series.val is not None
    assert series.val.tolist() == [3.5, 2.5]
    assert series.epochs.tolist() == [0.0, 1.0]
    assert not series.ended


def test_a_loss_that_stops_being_finite_ends_the_series() -> None:
    """What comes from the first NaN on is left out, and said to have ended."""
    series = series_of(Curve([3.0, math.nan, 1.0], [row(0, 3.0), row(1, 2.0), row(2, None)]))
    assert series.loss.tolist() == [3.0]
    assert series.train.tolist() == [3.0, 2.0]
    assert series.ended


def test_a_loss_whose_square_is_not_finite_has_ended_as_well() -> None:
    """A float64 loss of 1e200 has exploded, and reckoning with it would only overflow."""
    series = series_of(Curve([3.0, 1e200, 1.0], [row(0, 3.0), row(1, 2.0)]))
    assert series.loss.tolist() == [3.0]
    assert series.ended


def test_validation_with_holes_is_none() -> None:
    """A validation loss that was not measured everywhere cannot be compared."""
    assert series_of(Curve([], [row(0, 3.0, 3.0), row(1, 2.0, None)])).val is None
    assert series_of(Curve([], [row(0, 3.0), row(1, 2.0)])).val is None


def test_without_evaluations_means_of_ten_parts_stand_in() -> None:
    """A bare series of minibatch losses is read by the means of its tenths; too short a one by nothing."""
    series = series_of(Curve([float(x) for x in range(20)]))
    np.testing.assert_allclose(series.train, np.arange(0.5, 20, 2))
    assert series.val is None
    assert len(series_of(Curve([1.0] * 19)).train) == 0
