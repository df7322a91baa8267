from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from lrtune import exports
from lrtune.errors import UsageError
from lrtune.exports import (
    check_weights_can_be_saved,
    metrics_of,
    set_other_weights_aside,
    trials_csv,
    write_tables,
    write_weights,
)
from lrtune.results import StepResult
from lrtune.run_dir import RunDir

if TYPE_CHECKING:
    from pathlib import Path


def trial(curve: str, **keys: Any) -> dict[str, Any]:
    """A trial's row."""
    row = {
        "lr": 0.1, "weight_decay": 0.0, "val_loss": 0.5, "train_loss": 0.25, "metrics": {"accuracy": 0.75},
        "steps": 6, "state": "complete", "seed": 0, "curve": curve,
    }  # fmt: skip
    return {**row, **keys}


def grid(step: str, *trials: dict[str, Any]) -> StepResult:
    """A grid whose first trial is the best."""
    return StepResult(step, summary={"best": trials[0] if trials else None, "trials": list(trials)})


COARSE = grid(
    "coarse-grid",
    trial("coarse-001", lr=0.30000000000000004, momentum=0.9),
    trial("coarse-000", state="failed", val_loss=None, metrics={}, error='a "quoted", word', tries=3),
)
REFINE = grid("refine-grid", trial("refine-000", val_loss=0.125))
RESULTS = {
    "check-init": StepResult("check-init", summary={"initial_loss": 1.1}),
    "find-lr": StepResult("find-lr", summary={"suggestion": 0.1, "low": None, "high": math.nan}),
    "coarse-grid": COARSE,
    "refine-grid": REFINE,
}


def rows(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


def test_every_trial_is_a_row() -> None:
    """Trials of both grids stand in the order of training, numbers in full, the best ones marked."""
    found = rows(trials_csv(RESULTS))
    assert [row["trial"] for row in found] == ["coarse-000", "coarse-001", "refine-000"]
    assert [row["grid"] for row in found] == ["coarse", "coarse", "refine"]
    assert [row["best"] for row in found] == ["0", "1", "1"]
    assert float(found[1]["lr"]) == 0.30000000000000004
    assert found[1]["axes.momentum"] == "0.9"
    assert found[1]["metrics.accuracy"] == "0.75"
    assert (found[0]["val_loss"], found[0]["error"], found[0]["tries"]) == ("", 'a "quoted", word', "3")


def test_columns_are_stable() -> None:
    """The first columns are the same whatever the trials are, with no trials too."""
    lost = grid("coarse-grid", trial("coarse-000"), trial("coarse-001", state="diverged", last_loss=2.5))
    assert "axes" not in trials_csv({"coarse-grid": lost})
    columns = [
        trials_csv(results).splitlines()[0].split(",") for results in ({}, {"refine-grid": REFINE}, RESULTS)
    ]
    assert columns[1][: len(columns[0])] == columns[2][: len(columns[0])] == columns[0]
    assert columns[2][len(columns[0]) :] == ["axes.momentum", "metrics.accuracy"]


def test_numbers_are_flat() -> None:
    """The best trial of the later grid stands without prefix; what is not known or not finite is left out."""
    found = metrics_of(RESULTS)
    assert all(isinstance(value, int | float) for value in found.values())
    assert (found["val_loss"], found["lr"], found["metrics.accuracy"]) == (0.125, 0.1, 0.75)
    assert (found["coarse_val_loss"], found["refine_val_loss"]) == (0.5, 0.125)
    assert (found["initial_loss"], found["suggestion"]) == (1.1, 0.1)
    assert (found["coarse_trials"], found["coarse_failed"], found["coarse_complete"]) == (2, 1, 1)
    assert not {"suggestion_low", "suggestion_high", "overfit_loss"} & found.keys()


def test_a_grid_without_best_leaves_the_earlier_one() -> None:
    """Where no refined trial completed, the coarse grid's best is the answer; with nothing there is nothing."""
    assert metrics_of({**RESULTS, "refine-grid": grid("refine-grid")})["val_loss"] == 0.5
    assert metrics_of({}) == {}


def test_tables_are_written(tmp_path: Path) -> None:
    """Both files hold what the functions return."""
    write_tables(RunDir(tmp_path), RESULTS)
    assert (tmp_path / "trials.csv").read_text() == trials_csv(RESULTS)
    assert json.loads((tmp_path / "metrics.json").read_text()) == metrics_of(RESULTS)


def test_weights(tmp_path: Path) -> None:
    """Weights come back bitwise, with what they are of; where there are none no old file stays."""
    state = {"weight": torch.randn(2, 3), "count": torch.tensor(7)}
    notes: list[str] = []
    write_weights(RunDir(tmp_path), state, trial("refine-000", task="t.py:make_task"), notes.append)
    path = tmp_path / "best.safetensors"
    again = load_file(path)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[name], state[name]) for name in state)
    with safe_open(path, "pt") as file:  # type: ignore[no-untyped-call]
        told = json.loads(file.metadata()["lrtune"])
    assert told == trial("refine-000", task="t.py:make_task")
    assert str(path) in notes[0]
    write_weights(RunDir(tmp_path), None, trial("refine-000"), notes.append)
    assert not path.exists()
    assert "no weights are saved" in notes[1]


WEIGHTED = trial("refine-003", val_loss=0.4, momentum=0.9)
LATER: dict[str, tuple[dict[str, StepResult], bool]] = {
    "the same best": ({"coarse-grid": COARSE, "refine-grid": grid("refine-grid", WEIGHTED)}, True),
    "another trial": ({"refine-grid": grid("refine-grid", trial("refine-004"), WEIGHTED)}, False),
    "the same name, trained otherwise": (
        {"refine-grid": grid("refine-grid", trial("refine-003", val_loss=0.3))},
        False,
    ),
    "of the coarse grid alone": ({"coarse-grid": COARSE}, False),
    "nothing is known": ({"refine-grid": grid("refine-grid")}, True),
}


@pytest.mark.parametrize(("results", "stays"), LATER.values(), ids=LATER)
def test_weights_of_another_trial_go(results: dict[str, StepResult], stays: bool, tmp_path: Path) -> None:
    """Weights stay while their trial is the best; with another best they get its name, which is said."""
    run_dir, notes = RunDir(tmp_path), []
    told = {"task": "toy.py:make_task", "grid": "refine-grid", "epochs": 2, **WEIGHTED}
    write_weights(run_dir, {"weight": torch.ones(2)}, told, lambda text: None)
    set_other_weights_aside(run_dir, results, notes.append)
    assert (tmp_path / "best.safetensors").is_file() == stays
    assert (tmp_path / "refine-003.safetensors").is_file() != stays
    assert len(notes) == (0 if stays else 1)
    assert all("best.safetensors is now refine-003.safetensors" in note for note in notes)


@pytest.mark.parametrize("content", [b"", b"no header", b"\x02" + bytes(7) + b"{}", b"\xff" * 40])
def test_weights_of_others_stay(content: bytes, tmp_path: Path) -> None:
    """A file of that name that does not say which trial it is of is left alone."""
    (tmp_path / "best.safetensors").write_bytes(content)
    set_other_weights_aside(RunDir(tmp_path), {"coarse-grid": COARSE}, pytest.fail)
    assert (tmp_path / "best.safetensors").read_bytes() == content


def test_without_safetensors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where safetensors is not installed the command that installs it is named, before anything is trained."""
    check_weights_can_be_saved()
    monkeypatch.setattr(exports, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"python -m pip install 'lrtune\[weights\]'"):
        check_weights_can_be_saved()
