from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.errors import RunDirError
from lrtune.reporting import is_run_dir, material_of, report_run_dir, results_of
from lrtune.results import StepResult
from lrtune.run_dir import RunDir

if TYPE_CHECKING:
    from pathlib import Path

ORIGIN = {"task": "toy.py:make_task", "device": "cpu", "seed": 3, "optimizer": {"name": "sgd"}}


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A run directory in which the sweep alone has run."""
    made = RunDir(tmp_path / "out")
    made.save(StepResult("find-lr", summary={"suggestion": 0.05}, seconds=1.5), ORIGIN)
    return made


def test_the_suggestion_is_the_answer_of_a_sweep_alone(run_dir: RunDir) -> None:
    """Without a trial the report's result holds the sweep's suggestion, for whoever says the settings."""
    result = report_run_dir(str(run_dir.path), "lrtune report out")
    assert result.summary["best"] is None
    assert result.details["suggestion"] == 0.05
    assert result.details["environment"]["command"] == "lrtune report out"


def test_other_forms_are_of_the_same_report(run_dir: RunDir) -> None:
    """What the report was made of is had again, the steps that it left out left out too."""
    report_run_dir(str(run_dir.path), "lrtune report out")
    run_dir.save(StepResult("overfit"), ORIGIN)
    material = material_of(str(run_dir.path))
    assert list(material.results) == ["find-lr", "report"]
    assert material.context["command"] == "lrtune report out"
    assert (material.context["task"], material.context["seed"]) == ("toy.py:make_task", 3)
    assert set(material.made_from) == {"overfit", "find-lr"}


def test_without_a_report_all_steps_are_taken(run_dir: RunDir) -> None:
    """A directory of results without a report, or with one of an older version, is taken as it is."""
    assert list(material_of(str(run_dir.path)).results) == ["find-lr"]
    run_dir.save(StepResult("report", summary={"best": None}), ORIGIN)
    assert list(material_of(str(run_dir.path)).results) == ["find-lr"]


def test_to_compare_writes_nothing(run_dir: RunDir) -> None:
    """Reading the results for a comparison leaves the directory as it is, and tells step 6 all the same."""
    before = sorted(path.name for path in run_dir.path.iterdir())
    assert list(results_of(str(run_dir.path)).results) == ["find-lr", "report"]
    assert sorted(path.name for path in run_dir.path.iterdir()) == before


def test_what_is_no_run_directory(tmp_path: Path) -> None:
    """A folder without results is told apart, and refused with what was looked for."""
    assert not is_run_dir(tmp_path)
    with pytest.raises(RunDirError, match=r"holds no result of lrtune \(check-init\.json, "):
        results_of(str(tmp_path))


def test_no_password_is_written(run_dir: RunDir) -> None:
    """The command line stands on the page and in the result without the password that it holds."""
    report_run_dir(str(run_dir.path), "lrtune report out --set storage=postgresql://u:topsecret@h/d")
    written = [
        path.read_text() for path in run_dir.path.iterdir() if path.suffix in (".html", ".json", ".yaml")
    ]
    assert any("postgresql://u:***@h/d" in text for text in written)
    assert not any("topsecret" in text for text in written)


def test_a_comparison_leaves_strangers_out(run_dir: RunDir) -> None:
    """A step of another seed than the best setting's grid is no part of a run, in a comparison as in the report."""
    best = {"lr": 0.1, "weight_decay": 0.0, "val_loss": 1.0, "train_loss": 1.0, "metrics": {}, "steps": 1}
    best |= {"state": "complete", "seed": 4, "curve": "coarse-000"}
    summary = {"best": best, "trials": [best]}
    run_dir.save(StepResult("overfit", summary={"steps": 25}), ORIGIN | {"seed": 4})
    run_dir.save(StepResult("coarse-grid", summary=summary), ORIGIN | {"seed": 4})
    notes: list[str] = []
    material = results_of(str(run_dir.path), notes.append)
    assert list(material.results) == ["overfit", "coarse-grid", "report"]
    assert list(material.made_from) == ["overfit", "coarse-grid"]
    assert material.context["seed"] == 4
    assert notes == ["find-lr: left out, because it has another seed than coarse-grid; run it again"]
    told: list[str] = []
    report_run_dir(str(run_dir.path), "", told.append)
    assert told == notes
