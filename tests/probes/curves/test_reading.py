from __future__ import annotations

import pytest

from lrtune.probes.curves.reading import read_curve
from lrtune.results import Curve


def rows(*losses: float) -> list[dict[str, float | int | None]]:
    """Evaluations without validation."""
    return [{"epoch": epoch, "step": epoch, "train_loss": loss} for epoch, loss in enumerate(losses)]


@pytest.mark.parametrize(
    "curve", [Curve(), Curve([1.0] * 19), Curve([1.0], rows(1.0))], ids=["empty", "short", "one"]
)
def test_too_little_to_read(curve: Curve) -> None:
    """Without two evaluations or twenty steps there is nothing to measure."""
    assert read_curve(curve) is None


def test_evaluations_alone() -> None:
    """A curve without its steps is read by its evaluations: no swings, no spikes, its fall and its trend."""
    reading = read_curve(Curve([], rows(3, 2.5, 2, 1.5, 1, 0.5, 0)))
    assert reading is not None
    assert reading.scale == pytest.approx(2.5)
    assert reading.train_end.falls
    assert reading.spikes == []
    assert reading.swings.rises == ()
    assert reading.validation is None


def test_the_scale_is_the_larger_fall() -> None:
    """Where the minibatch losses fall further than the fixed subset's, theirs is the unit."""
    losses = [5.0] * 50 + [1.0] * 250
    reading = read_curve(Curve(losses, rows(2, 1, 1, 1)))
    assert reading is not None
    assert reading.scale == pytest.approx(4.0)
