from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from rich.padding import Padding

from lrtune.cli.blocks import INDENT
from lrtune.cli.trial_table import trial_blocks


def trial(number: int, **more: Any) -> dict[str, Any]:
    """Return a row of a grid whose numbers are as long as they get."""
    return {
        "lr": 0.000221,
        "weight_decay": 0.000585,
        "val_loss": 1.234e-05,
        "train_loss": 5.678e-05,
        "metrics": {"accuracy": 0.9778, "top five": 0.9912},
        "steps": 100,
        "state": "diverged" if number == 2 else "complete",
        "seed": 0,
        "curve": f"coarse-{number:03d}",
        **more,
    }


def printed(width: int, trials: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of a grid's text in a terminal of so many columns; the first trial is the best."""
    monkeypatch.setenv("COLUMNS", str(width))
    console = Console(highlight=False)
    with console.capture() as captured:
        for block in trial_blocks(trials, trials[0]):
            console.print(Padding(block, INDENT, expand=False))
    return captured.get().splitlines()


@pytest.mark.parametrize("width", [30, 40, 44, 52, 60, 70, 80, 120])
def test_nothing_is_cut_at_any_width(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rates, decays, losses and states stand whole, in lines that fit, and no ellipsis is anywhere."""
    axes = {"optimizer.momentum": 0.9, "hidden": 128}
    lines = printed(width, [trial(number, **axes) for number in range(3)], monkeypatch)
    text = " ".join(" ".join(lines).split())
    assert max(map(len, lines)) <= width
    assert "…" not in text
    for whole in ("0.000221", "0.000585", "1.234e-05", "best", "diverged", "0.9", "128"):
        assert whole in text


def test_the_training_loss_goes_before_the_metrics(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no room is named below the table, the least important column first."""
    text = "\n".join(printed(62, [trial(number) for number in range(2)], monkeypatch))
    assert "no room for train loss: see the report" in text
    assert "0.9912" in text
    text = "\n".join(printed(52, [trial(number) for number in range(2)], monkeypatch))
    assert "no room for train loss, top five: see the report" in text
    assert "0.9778" in text


def test_what_a_row_says_of_itself_is_no_axis(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a diverged or failed trial holds beyond the others makes no column."""
    plain = printed(120, [trial(1), trial(2)], monkeypatch)
    assert printed(120, [trial(1), trial(2, last_loss=2.5, error="odd", tries=2)], monkeypatch) == plain


def test_axes_are_told_below(monkeypatch: pytest.MonkeyPatch) -> None:
    """The values of an axis without a column stand below the table, by the row's number."""
    lines = printed(46, [trial(number, momentum=0.8 + number / 10) for number in range(2)], monkeypatch)
    assert [line.strip() for line in lines if "momentum" in line] == ["1: momentum 0.8", "2: momentum 0.9"]


def test_the_best_is_shown_wherever_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten rows are shown, and the chosen one; how many are left out is said."""
    monkeypatch.setenv("COLUMNS", "80")
    rows = [trial(number + 10) for number in range(14)]
    table, more = trial_blocks(rows, rows[12])
    assert table.row_count == 11
    assert str(more) == "and 3 more, see the report"
