from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from lrtune import Config, StepResult, Task
from lrtune.provenance import changed, fingerprint, made_from

if TYPE_CHECKING:
    from pathlib import Path

STEPS = ("check-init", "overfit", "find-lr", "coarse-grid", "refine-grid")
ALL = set(STEPS)


def task_of(path: Path | None) -> Task:
    """Return a task that was loaded from a file, or one made in code."""
    task = Task(model=torch.nn.Identity, train=[torch.zeros(1)], step=lambda model, batch: model(batch))
    if path:
        object.__setattr__(task, "name", "toy.py:make_task")
        object.__setattr__(task, "sources", (path,))
    return task


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A task's file."""
    path = tmp_path / "toy.py"
    path.write_text("hidden = 3\n")
    return path


def origins(source: Path, device: str = "cpu", **keys: Any) -> dict[str, dict[str, Any]]:
    """Return what each step's result would be made from."""
    return {step: made_from(step, task_of(source), Config(**keys), device, {}) for step in STEPS}


@pytest.mark.parametrize(
    ("keys", "stale"),
    [
        pytest.param({}, set(), id="nothing"),
        pytest.param({"seed": 1}, ALL, id="seed"),
        pytest.param({"batch_size": 3}, ALL, id="batch size"),
        pytest.param({"precision": "bfloat16"}, ALL, id="precision"),
        pytest.param({"args": {"hidden": 2}}, ALL, id="args"),
        pytest.param({"optimizer": {"name": "adam"}}, ALL, id="optimizer"),
        pytest.param({"overfit": {"steps": 5}}, {"overfit"}, id="overfit"),
        pytest.param({"find_lr": {"max": 1.0}}, {"find-lr"}, id="find_lr"),
        pytest.param({"coarse": {"epochs": 9}}, {"coarse-grid"}, id="coarse"),
        pytest.param({"refine": {"trials": 9}}, {"refine-grid"}, id="refine"),
        pytest.param({"run_dir": "elsewhere"}, set(), id="run directory"),
        pytest.param({"coarse": {"epochs": 3}}, set(), id="default written out"),
    ],
)
def test_a_setting_makes_stale_what_reads_it(source: Path, keys: dict[str, Any], stale: set[str]) -> None:
    """A changed section touches its own step, a common setting all of them, a place none."""
    before, now = origins(source), origins(source, **keys)
    assert {step for step in STEPS if fingerprint(before[step]) != fingerprint(now[step])} == stale


def test_the_device_counts(source: Path) -> None:
    """Another device gives other numbers."""
    before, now = origins(source), origins(source, device="cuda:0")
    assert all(changed(before[step], now[step]) == ["device"] for step in STEPS)


def test_the_source_counts_by_its_text(source: Path) -> None:
    """Rewriting the same text changes nothing, another text does, and the reason is said in words."""
    before = origins(source)["overfit"]
    source.write_text("hidden = 3\n")
    assert changed(before, origins(source)["overfit"]) == []
    source.write_text("hidden = 4\n")
    assert changed(before, origins(source)["overfit"]) == ["the task's source"]


def test_a_moved_project_stays_fresh(source: Path, tmp_path: Path) -> None:
    """The folder that the file lies in does not count."""
    before = origins(source)["overfit"]
    (tmp_path / "moved").mkdir()
    assert origins(source.rename(tmp_path / "moved" / "toy.py"))["overfit"] == before


def test_tasks_made_in_code_share_nothing() -> None:
    """Two tasks without a file are never taken for each other, one is fresh for itself."""
    one, other = task_of(None), task_of(None)
    origin = made_from("overfit", one, Config(), "cpu", {})
    assert changed(origin, made_from("overfit", one, Config(), "cpu", {})) == []
    assert changed(origin, made_from("overfit", other, Config(), "cpu", {})) == ["the task's source"]


def test_an_input_counts_by_what_it_found(source: Path) -> None:
    """A find-lr that ran again and found the same leaves the grid fresh; another rate does not."""

    def origin(rate: float, seconds: float) -> dict[str, Any]:
        found = StepResult("find-lr", summary={"suggestion": rate}, seconds=seconds)
        return made_from("coarse-grid", task_of(source), Config(), "cpu", {"find-lr": found})

    assert changed(origin(0.1, 1.0), origin(0.1, 2.0)) == []
    assert changed(origin(0.1, 1.0), origin(0.2, 1.0)) == ["find-lr"]


def test_changes_are_named_as_the_config_names_them(source: Path) -> None:
    """Every part that differs is listed, those that are new or gone included."""
    before = {"seed": 0, "coarse": {"epochs": 3}, "gone": 1}
    assert changed(before, {"seed": 1, "coarse": {"epochs": 3}, "new": 2}) == ["seed", "gone", "new"]
    assert changed({"coarse": 1, "find-lr": 1}, {"coarse": 2}) == ["coarse"], (
        "rates given by hand need no find-lr"
    )


def test_a_fingerprint_is_16_digits_and_knows_no_order() -> None:
    """The same parts in another order, or as a tuple, have the same fingerprint."""
    assert fingerprint({"a": (1, 2), "b": 2.0}) == fingerprint({"b": 2.0, "a": [1, 2]})
    assert len(fingerprint({})) == 16
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})
