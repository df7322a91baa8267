from __future__ import annotations

import pytest

from lrtune.charts.scales import log_ticks, loss_axis, loss_window

WINDOWS = {
    "explosion": ([2.0, 1.0, 900.0], 2.0, (1.0, 3.0)),
    "no-explosion": ([2.0, 1.0, 2.5], 2.0, (1.0, 2.5)),
    "never-falls": ([2.0, 5.0], 2.0, (2.0, 2.2)),
    "constant": ([2.0, 2.0], 2.0, (1.9, 2.1)),
    "constant-zero": ([0.0], 0.0, (-0.5, 0.5)),
}


@pytest.mark.parametrize(("values", "start", "window"), WINDOWS.values(), ids=WINDOWS)
def test_loss_window(values: list[float], start: float, window: tuple[float, float]) -> None:
    """The loss axis ends one drop above the start, whatever explodes."""
    assert loss_window(values, start) == pytest.approx(window)


TICKS = {
    "decades": (1e-3, 2.0, [1e-3, 1e-2, 0.1, 1.0]),
    "within-two-decades": (0.03, 0.6, [0.05, 0.1, 0.2, 0.5]),
    "many-decades": (1e-12, 1.0, [1e-12, 1e-10, 1e-8, 1e-6, 1e-4, 1e-2, 1.0]),
    "narrow": (0.02, 0.05, [0.02, 0.03, 0.04, 0.05]),
}


@pytest.mark.parametrize(("low", "high", "ticks"), TICKS.values(), ids=TICKS)
def test_log_ticks(low: float, high: float, ticks: list[float]) -> None:
    """A logarithmic axis is labelled at a few round values."""
    assert log_ticks(low, high) == pytest.approx(ticks)


@pytest.mark.parametrize(
    ("values", "kind"),
    [([1.0, 0.01], "log"), ([1.0, 0.0], "linear"), ([1.0, -3.0], "linear"), ([1.0, 0.9], "linear")],
    ids=["wide", "zero", "negative", "narrow"],
)
def test_loss_axis_kind(values: list[float], kind: str) -> None:
    """The loss axis is logarithmic only for positive values that span much."""
    scale = loss_axis(values, 1.0, "loss").to_dict()["scale"]
    assert scale.get("type", "linear") == kind
