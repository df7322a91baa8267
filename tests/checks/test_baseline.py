from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from benchmarks.baseline.table import false_alarms

from lrtune.checks.baseline import coarse_loss, initial_loss, learning_rate, overfit_steps, time_per_step
from lrtune.checks.catalogue import catalogue

EXPECTED = {"expected_low": 2.3, "expected_high": 2.31}


def code(compared: Any) -> str | None:
    """Return the code of what was found, None where nothing has moved."""
    return compared.finding.code if compared.finding else None


@pytest.mark.parametrize(
    ("was", "now", "error", "fall", "found"),
    [
        pytest.param(2.31, 2.31, 0.01, 2.3, None, id="the same"),
        pytest.param(2.31, 2.6, 0.01, 2.3, None, id="another seed"),
        pytest.param(2.31, 17.0, 0.3, 2.3, "regression-initial-loss", id="scaled by 100"),
        pytest.param(2.31, 0.9, 0.01, 2.3, "regression-initial-loss", id="too low"),
        pytest.param(17.0, 2.31, 0.3, 2.3, "better-than-baseline", id="mended"),
        pytest.param(17.7, 11.2, 3.7, 17.0, None, id="a loss that is known badly"),
        pytest.param(0.01, 0.3, 0.001, 2.0, None, id="near zero, by the scale of its fall"),
        pytest.param(0.01, -0.3, 0.001, 0.0, "regression-initial-loss", id="near zero, no other scale"),
    ],
)
def test_initial_loss(was: float, now: float, error: float, fall: float, found: str | None) -> None:
    """It may move by the errors of both measurements and half of its scale; towards theory it is no regression."""
    before = {"initial_loss": was, "standard_error": error}
    after = {"initial_loss": now, "standard_error": error, **EXPECTED}
    assert code(initial_loss(before, after, fall)) == found


def test_without_an_expectation_every_move_is_a_regression() -> None:
    """Where theory expects nothing, neither direction is known to be better."""
    plain = {"standard_error": None, "expected_low": None, "expected_high": None}
    for now in (1.0, 9.0):
        compared = initial_loss({"initial_loss": 3.0, **plain}, {"initial_loss": now, **plain}, 0.0)
        assert code(compared) == "regression-initial-loss"


def test_a_move_names_both_numbers() -> None:
    """The message has what it was and what it is; so have the texts of what was compared."""
    compared = initial_loss(
        {"initial_loss": 2.31, "standard_error": 0.0},
        {"initial_loss": 17.25, "standard_error": 0.0, **EXPECTED},
        0.0,
    )
    assert compared.finding is not None
    assert "17.25" in compared.finding.message
    assert "2.31" in compared.finding.message
    assert (compared.baseline, compared.now, compared.allowed) == ("2.31", "17.25", "1.155 to 3.465")
    assert compared.finding.measured == 17.25


def test_a_baseline_that_varies_with_the_seed_allows_more() -> None:
    """Twice what its own seeds lay apart is noise, of factors the square."""
    loose = {"initial_loss": 2.31, "standard_error": 0.01, "spread": 2.0}
    assert code(initial_loss(loose, {"initial_loss": 6.0, "standard_error": 0.01, **EXPECTED}, 2.3)) is None
    assert (
        code(initial_loss(loose, {"initial_loss": 7.0, "standard_error": 0.01, **EXPECTED}, 2.3)) is not None
    )
    assert code(overfit_steps({"steps": 50, "spread": 75}, {"steps": 200})) is None
    assert code(overfit_steps({"steps": 50, "spread": 75}, {"steps": 225})) is not None
    before = rates(0.07, 0.35, 0.35) | {"spread": 4.0, "range_spread": 1.5}
    assert code(learning_rate(before, rates(0.035, 0.175, 0.175))) is None
    assert code(learning_rate(before, rates(0.028, 0.14, 0.14))) == "regression-learning-rate"
    assert code(learning_rate(before, rates(0.005, 0.35, 0.35))) is None
    assert code(learning_rate(before, rates(0.004, 0.35, 0.35))) == "regression-learning-rate"


@pytest.mark.parametrize(
    ("was", "now", "found"),
    [
        (50, 50, None),
        (25, 75, None),  # a block more or two is the seed's doing
        (25, 100, "regression-overfit-steps"),
        (100, 300, None),
        (100, 325, "regression-overfit-steps"),
        (100, 25, "better-than-baseline"),
        (75, 25, None),
        (325, 100, "better-than-baseline"),
    ],
)
def test_overfit_steps(was: int, now: int, found: str | None) -> None:
    """Three times as many are a regression, and a third is a gain, where it is more than two blocks."""
    assert code(overfit_steps({"steps": was}, {"steps": now})) == found


def rates(suggestion: float, held: float | None, diverged: float | None) -> dict[str, Any]:
    """Return what step 3 found."""
    return {
        "suggestion": suggestion,
        "low": suggestion / 3,
        "high": suggestion * 3,
        "largest_stable": held,
        "diverged_at": diverged,
        "spacing": 1.2,
    }


@pytest.mark.parametrize(
    ("now", "found"),
    [
        pytest.param(rates(0.07, 0.35, 0.35), None, id="the same"),
        pytest.param(rates(0.035, 0.175, 0.175), "regression-learning-rate", id="range halved"),
        pytest.param(rates(0.14, 0.7, 0.7), "regression-learning-rate", id="range doubled"),
        pytest.param(rates(0.07, 0.11, 0.35), None, id="one of three lower"),
        pytest.param(rates(0.035, 0.11, 0.35), None, id="two of three lower"),
        pytest.param(rates(0.014, 0.11, 0.35), None, id="the suggestion a fifth"),
        pytest.param(rates(0.01, 0.35, 0.35), "regression-learning-rate", id="the suggestion a seventh"),
        pytest.param(rates(0.5, 0.5, None), "regression-learning-rate", id="the suggestion sevenfold"),
        pytest.param(rates(0.035, 0.175, None), None, id="nothing diverged"),
    ],
)
def test_learning_rate(now: dict[str, Any], found: str | None) -> None:
    """The range has moved where all three numbers say so; the suggestion alone has to move by far."""
    compared = learning_rate(rates(0.07, 0.35, 0.35), now)
    assert code(compared) == found
    if compared.finding and now["diverged_at"] in (0.175, 0.7):
        side = "lower" if now["diverged_at"] < 0.35 else "higher"
        assert f"all rates that hold lie {side}, by a factor of 2 at least" in compared.finding.message
    elif compared.finding:
        assert "all rates" not in compared.finding.message


def test_a_coarser_sweep_allows_more() -> None:
    """Where the sweep's steps are wide, its reading is off by as much."""
    halved = rates(0.035, 0.175, 0.175)
    assert code(learning_rate(rates(0.07, 0.35, 0.35), halved | {"spacing": 1.6})) is None


@pytest.mark.parametrize(
    ("now", "found"),
    [
        (0.1, None),
        (0.4, None),
        (0.44, "regression-coarse-loss"),
        (2.4, "regression-coarse-loss"),
        (-0.25, "better-than-baseline"),
    ],
)
def test_coarse_loss(now: float, found: str | None) -> None:
    """15% of the fall from the initial loss is noise."""
    before = {"loss": 0.1, "initial_loss": 2.3, "kind": "validation"}
    compared = coarse_loss(before, {"loss": now})
    assert code(compared) == found
    assert compared.what == "best validation loss"


def test_time_per_step() -> None:
    """Three times as long is a warning; a third is nothing to tell."""
    assert code(time_per_step(1.0, 2.9)) is None
    assert code(time_per_step(1.0, 0.1)) is None
    slow = time_per_step(1.0, 3.1).finding
    assert slow is not None
    assert (slow.code, slow.severity) == ("regression-time", "warning")
    assert "3.1 ms" in slow.message
    assert "1 ms" in slow.message


RECORDED = Path(__file__).resolve().parents[1] / "benchmarks" / "baseline" / "recorded"


@pytest.mark.parametrize(("name", "compared", "reported"), [("set", 13_860, 0), ("held_out", 3_360, 82)])
def test_the_figures_that_the_sources_quote(name: str, compared: int, reported: int) -> None:
    """Judged again, what was measured with other seeds gives the numbers that catalogue and README tell."""
    programs: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in (RECORDED / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        programs[row["program"]].append(row)
    judged = [false_alarms(rows) for rows in programs.values()]
    assert sum(count for count, _ in judged) == compared
    assert sum(alarms["any"] for _, alarms in judged) == reported
    assert f"{compared:,}" in catalogue()["regression-learning-rate"].source
