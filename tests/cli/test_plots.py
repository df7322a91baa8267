from __future__ import annotations

import math

import pytest
from rich.console import Console

from lrtune.cli.plots import epochs_plot, painted, plot_width, sweep_plot
from lrtune.results import Curve, StepResult

SWEEP = StepResult(
    "find-lr",
    summary={"suggestion": 0.05},
    details={
        "learning_rates": [10 ** (i / 10 - 5) for i in range(50)],
        "median": [2.0 - math.exp(-((i - 35) ** 2) / 60) for i in range(50)],
        "probes": {
            "steps": 100,
            "rates": [{"learning_rate": 0.05, "loss": 1.0, "steps": 100, "state": "complete"}],
        },
    },
)
ROWS = [{"epoch": e, "step": e, "train_loss": 1 / (1 + e), "val_loss": 1.2 / (1 + e)} for e in range(9)]
REPORT = StepResult("report", curves={"a": Curve([1.0], ROWS)})  # type: ignore[arg-type]


@pytest.mark.parametrize(("columns", "width"), [(20, 30), (60, 54), (80, 74), (200, 100)])
def test_width_follows_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, width: int) -> None:
    """Below 80 columns a plot is narrower, in a wide terminal wider, within reason."""
    monkeypatch.setenv("COLUMNS", str(columns))
    assert plot_width() == width


@pytest.mark.parametrize("columns", [50, 80, 140])
def test_lines_fit(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    """No line of a plot is longer than the terminal."""
    monkeypatch.setenv("COLUMNS", str(columns))
    for drawn in (sweep_plot(SWEEP), epochs_plot(REPORT)):
        assert drawn
        assert max(len(line) for line in drawn.splitlines()) <= columns


def test_colours_only_where_there_are_any() -> None:
    """The same plot is plain text on a terminal without colour, and coloured within its frame on one with it."""
    plot = epochs_plot(REPORT)
    plain, coloured = (
        Console(width=120, color_system=system, force_terminal=True, highlight=False)
        for system in (None, "256")
    )
    texts = []
    for console in (plain, coloured):
        with console.capture() as captured:
            console.print(painted(plot))
        texts.append(captured.get())
    assert texts[0].rstrip("\n") == plot
    assert "\x1b[" in texts[1]
    assert "\x1b[" not in texts[1].splitlines()[0]  # the frame
