from __future__ import annotations

import pytest

from lrtune.steps.stopwatch import Stopwatch

CASES = {
    "alone": (2.0, 2.0, 2.0),
    "beside other programs": (8.0, 2.0, 2.0),
    "four threads": (2.0, 8.0, 2.0),
    "asleep": (2.0, 0.01, 2.0),
    "asleep for the most part": (2.0, 0.19, 2.0),
}


@pytest.mark.parametrize(("wall", "processor", "seconds"), CASES.values(), ids=CASES)
def test_what_a_computation_takes(
    monkeypatch: pytest.MonkeyPatch, wall: float, processor: float, seconds: float
) -> None:
    """Others' turns and further threads do not count, waiting does."""
    clocks = {"perf_counter": 100.0, "process_time": 10.0}
    for name in clocks:
        monkeypatch.setattr(f"lrtune.steps.stopwatch.time.{name}", lambda name=name: clocks[name])
    watch = Stopwatch()
    clocks["perf_counter"] += wall
    clocks["process_time"] += processor
    assert watch.seconds() == pytest.approx(seconds)
