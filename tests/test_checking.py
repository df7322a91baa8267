from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import Notes, blob_task, codes
from torch import nn

import lrtune
from lrtune.baseline_file import write_baseline
from lrtune.checking import CHECKED, repeatable

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS: dict[str, Any] = {
    "device": "cpu",
    "batch_size": 16,
    "overfit": {"batches": 2, "steps": 100},
}
CONFIG = lrtune.Config(**SETTINGS)


def scaled() -> nn.Module:
    """A model whose last layer is 100 times too large."""
    model = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))
    with torch.no_grad():
        model[-1].weight *= 100
    return model


@pytest.fixture(scope="module")
def healthy() -> lrtune.StepResult:
    """A check that passes."""
    return lrtune.check(blob_task(), CONFIG)


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    """Return a result's object without what the clock says."""
    steps = [without_times(one) for one in found.get("steps", [])]
    return {key: value for key, value in found.items() if key != "seconds"} | (
        {"steps": steps} if steps else {}
    )


def test_the_result_holds_the_three_steps(healthy: lrtune.StepResult) -> None:
    """The object is as that of `run`: schema, step, verdict, and one object a step."""
    found = healthy.to_dict()
    assert (found["schema"], found["step"], found["verdict"]) == (1, "check", "pass")
    assert [step["step"] for step in found["steps"]] == list(CHECKED)
    assert found["summary"] == {"skipped": [], "not_run": [], "budget": 120.0, "baseline": None}


def test_twice_the_same(healthy: lrtune.StepResult) -> None:
    """Every number is that of the first time, bit by bit."""
    again = lrtune.check(blob_task(), CONFIG)
    assert without_times(again.to_dict()) == without_times(healthy.to_dict())


def test_each_is_what_its_own_command_finds(healthy: lrtune.StepResult) -> None:
    """The steps are those of the recipe, in the execution that gives the same numbers every time."""
    alone = lrtune.find_lr(blob_task(), repeatable(CONFIG))
    assert healthy.steps[2].summary == alone.summary


def test_the_execution_is_serial_unless_chosen() -> None:
    """What `auto` picks depends on the moment; what is asked for stays, and so does the rest of its section."""
    assert repeatable(lrtune.Config(population={"members": 3})).population.execution == "serial"
    assert repeatable(lrtune.Config(population={"members": 3})).population.members == 3
    assert repeatable(lrtune.Config(population={"execution": "fused"})).population.execution == "fused"
    assert repeatable(CONFIG).find_lr == CONFIG.find_lr


def test_it_stops_at_the_first_failure() -> None:
    """What was not run is named, and the findings are those of the step that failed."""
    result = lrtune.check(blob_task(model=scaled), CONFIG)
    assert result.verdict == "fail"
    assert [step.step for step in result.steps] == ["check-init"]
    assert result.summary["not_run"] == ["overfit", "find-lr"]
    assert codes(result)[0] == "initial-loss-high"


def test_keep_going_runs_all_three() -> None:
    """With `keep_going` later steps run in spite of a failure."""
    result = lrtune.check(blob_task(model=scaled), CONFIG, keep_going=True)
    assert [step.step for step in result.steps] == list(CHECKED)
    assert (result.verdict, result.summary["not_run"]) == ("fail", [])


class Clock(Notes):
    """Progress that lets time pass when a bar of a given label is opened."""

    def __init__(self, label: str, now: list[float]) -> None:
        super().__init__()
        self.label, self.now = label, now

    def bar(self, label: str, total: int) -> Any:
        """Open a bar; at the one waited for, an hour passes."""
        if self.label in label:
            self.now[0] += 3600
        return super().bar(label, total)


def test_what_the_budget_has_no_time_for_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The step that is under way ends, the next does not begin, both say so with a warning and hold no number."""
    now = [0.0]
    monkeypatch.setattr("lrtune.deadline.time.monotonic", lambda: now[0])
    result = lrtune.check(blob_task(), CONFIG, Clock("overfitting", now), budget=60)
    assert [(step.step, codes(step)) for step in result.steps] == [
        ("check-init", []),
        ("overfit", ["out-of-time"]),
        ("find-lr", ["out-of-time"]),
    ]
    assert result.verdict == "warn"
    assert result.summary["skipped"] == ["overfit", "find-lr"]
    assert all(value is None for step in result.steps[1:] for value in step.summary.values())
    assert "the budget of 60 s was used up" in result.steps[1].findings[0].message


@pytest.mark.parametrize("budget", [0, -1, float("nan")])
def test_no_time_at_all_is_refused(budget: float) -> None:
    """A budget that no step could keep is bad usage."""
    with pytest.raises(lrtune.UsageError, match="budget: expected seconds above 0"):
        lrtune.check(blob_task(), CONFIG, budget=budget)


def test_nothing_is_taken_from_the_run_directory(tmp_path: Path) -> None:
    """A second check measures anew, and what it found is there for a run that follows."""
    config = CONFIG.updated(run_dir=str(tmp_path / "out"))
    task = blob_task()
    for _ in range(2):
        result = lrtune.check(task, config)
        assert not any(step.reused for step in result.steps)
    notes = Notes()
    assert (
        lrtune.coarse_grid(task, config.updated(coarse={"epochs": 1, "weight_decay": [0.0]}), notes).verdict
        != "fail"
    )
    assert any(note.startswith("find-lr: nothing has changed") for note in notes.notes)


def test_a_baseline_of_the_same_passes(healthy: lrtune.StepResult, tmp_path: Path) -> None:
    """Another seed than the baseline's is noise; what was compared is told."""
    path = str(tmp_path / "b.json")
    write_baseline(path, [healthy.steps], blob_task(), repeatable(CONFIG))
    result = lrtune.check(blob_task(), CONFIG.updated(seed=3), baseline=path)
    assert [code for code in codes(result) if code.startswith("regression")] == []
    compared = [row["code"] for step in result.steps for row in step.details["baseline"]]
    assert compared[:3] == ["regression-initial-loss", "regression-overfit-steps", "regression-learning-rate"]
    assert result.summary["baseline"] == path


def test_a_baseline_that_has_moved_fails(healthy: lrtune.StepResult, tmp_path: Path) -> None:
    """A rate that the optimizer multiplies by four moves nothing but the rates, and step 3 says so."""
    path = str(tmp_path / "b.json")
    write_baseline(path, [healthy.steps], blob_task(), repeatable(CONFIG))

    def eager(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(model.parameters(), 4 * lr, momentum=0.9, weight_decay=weight_decay)

    result = lrtune.check(blob_task(optimizer=eager), CONFIG, baseline=path)
    errors = [found.code for found in result.findings if found.severity == "error"]
    assert errors == ["regression-learning-rate"]
    assert (result.steps[-1].step, result.steps[-1].verdict) == ("find-lr", "fail")


def test_a_baseline_is_read_before_the_work(tmp_path: Path) -> None:
    """A file that is not there ends the check before any step."""
    notes = Notes()
    with pytest.raises(lrtune.UsageError, match="no such file; --update-baseline writes a first one"):
        lrtune.check(blob_task(), CONFIG, notes, baseline=str(tmp_path / "none.json"))
    assert notes.labels == []
