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


def test_what_failures_have_in_common() -> None:
    """A value on a further axis that all failures have, and no other trial, is named; so is the traceback's file."""
    rows = [
        row(hidden=32, depth=2),
        row("failed", hidden=64, depth=2, error="boom", traceback="failed/coarse-001.txt"),
        row("failed", lr=0.3, hidden=64, depth=2, error="boom"),
    ]
    found = failed_trials(rows, label)
    assert found is not None
    assert found.message.endswith(
        "boom. All that have hidden 64 failed, and no other. Its traceback is in failed/coarse-001.txt."
    )
    none = failed_trials([row("failed", hidden=64, error="boom")], label)
    assert none is not None
    assert "All that have" not in none.message  # nothing to set it against


def test_memory_has_a_fix_of_its_own() -> None:
    """A lack of memory is met with less to hold, anything else by reading its message."""
    held = failed_trials([row(), row("failed", error="OutOfMemoryError while training: 2 GiB")], label)
    other = failed_trials([row(), row("failed", error="boom")], label)
    assert held is not None
    assert other is not None
    assert "smaller batch_size" in held.fix
    assert "smaller batch_size" not in other.fix
