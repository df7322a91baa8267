from __future__ import annotations

from typing import Any

from lrtune.checks.grid import failed_trials


def row(state: str = "complete", **values: Any) -> dict[str, Any]:
    """A row of a grid's table."""
    return {"lr": 0.1, "state": state, **values}


def label(trial: dict[str, Any]) -> str:
    """A trial's settings."""
    return f"lr {trial['lr']}"


def test_no_trial_failed() -> None:
    """A grid without failures has no finding; a divergence is none."""
    assert failed_trials([row(), row("diverged"), row("pruned")], label) is None


def test_failures_are_counted_and_the_first_is_quoted() -> None:
    """How many, of how many, what was raised, and how often it was tried."""
    rows = [row(), row("failed", lr=3.0, error="boom", tries=3), row("failed", error="bang", tries=1)]
    found = failed_trials(rows, label)
    assert found is not None
    assert (found.code, found.measured) == ("trial-failed", 2)
    assert found.message == "2 of 3 trials raised, first the one with lr 3.0 (tried 3 times): boom"


def test_a_failure_of_an_older_file_has_no_reason() -> None:
    """A row that says no reason is told as such."""
    found = failed_trials([row("failed")], label)
    assert found is not None
    assert found.message.endswith("lr 0.1: no reason is known")
