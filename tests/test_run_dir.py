from __future__ import annotations

import errno
import json
import math
import stat
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lrtune import Curve, Finding, RunDirError, StepResult
from lrtune.curve_file import curve_from_csv, curve_to_csv
from lrtune.run_dir import FILES, RunDir, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable

ORIGIN = {"task": "toy.py:make_task", "seed": 0}
CURVE = Curve(
    [2.0, 1.0, 0.5],
    [
        {"epoch": 0, "step": 0, "train_loss": 2.1, "val_loss": 2.2, "accuracy": 0.1},
        {"epoch": 1, "step": 3, "train_loss": 0.4, "val_loss": None, "accuracy": 0.9},
    ],
)


def grid_result(**curves: Curve) -> StepResult:
    """Return a coarse grid with these curves."""
    found = Finding("best-at-grid-edge", "warning", "At the edge.", 0.1, "inside", "Extend it.", "here")
    return StepResult(
        "coarse-grid",
        [found],
        {"best": {"lr": 0.1}, "trials": [{"lr": 0.1, "val_loss": math.nan}]},
        seconds=1.5,
        details={"epochs": 3, "initial_loss": math.inf},
        curves=curves,
    )


@pytest.fixture
def run_dir(tmp_path: Path) -> RunDir:
    """A run directory that holds an overfit result and a coarse grid with two curves."""
    made = RunDir(tmp_path / "out")
    made.save(StepResult("overfit", summary={"steps": 3}), ORIGIN)
    made.save(grid_result(**{"coarse-000": CURVE, "coarse-001": Curve([3.0])}), ORIGIN)
    return made


def test_a_result_comes_back_as_it_was_saved(run_dir: RunDir) -> None:
    """Findings, numbers, details and curves survive; what was not finite is None."""
    stored = run_dir.load("coarse-grid")
    assert stored is not None
    assert stored.complete
    assert stored.made_from == ORIGIN
    result = stored.result
    assert result.findings == grid_result().findings
    assert result.summary == {"best": {"lr": 0.1}, "trials": [{"lr": 0.1, "val_loss": None}]}
    assert result.details == {"epochs": 3, "initial_loss": None}
    assert result.curves == {"coarse-000": CURVE, "coarse-001": Curve([3.0])}
    assert (result.seconds, result.run_dir, result.reused) == (1.5, str(run_dir.path), True)


def test_nothing_stored_is_none(tmp_path: Path) -> None:
    """A step that has not run is no fault."""
    notes: list[str] = []
    assert RunDir(tmp_path, notes.append).load("overfit") is None
    assert notes == []


def test_what_a_step_has_so_far_is_marked(run_dir: RunDir) -> None:
    """A result saved before its step's end is not complete."""
    run_dir.save(grid_result(), ORIGIN, complete=False)
    stored = run_dir.load("coarse-grid")
    assert stored is not None
    assert not stored.complete


def test_the_files_are_plain_and_named_as_documented(run_dir: RunDir) -> None:
    """Strict JSON with the printed object's keys first, curves as CSV, readable by everybody."""
    names = {path.relative_to(run_dir.path).as_posix() for path in run_dir.path.rglob("*") if path.is_file()}
    assert names == {"overfit.json", "coarse.json", "curves/coarse-000.csv", "curves/coarse-001.csv"}
    text = (run_dir.path / "coarse.json").read_text()
    record = json.loads(text, parse_constant=pytest.fail)
    assert list(record)[:8] == [
        *("schema", "lrtune", "step", "verdict", "seconds", "run_dir", "findings", "summary"),
    ]
    assert (run_dir.path / "curves" / "coarse-000.csv").read_text() == (
        "step,loss,epoch,train_loss,val_loss,accuracy\n"
        "0,,0,2.1,2.2,0.1\n"
        "1,2.0,,,,\n"
        "2,1.0,,,,\n"
        "3,0.5,1,0.4,,0.9\n"
    )
    assert stat.S_IMODE((run_dir.path / "coarse.json").stat().st_mode) == 0o644


def test_file_names_of_the_six_steps() -> None:
    """The names are the documentation's."""
    assert list(FILES.values()) == [
        *("check-init.json", "overfit.json", "find-lr.json", "coarse.json", "refine.json", "report.json"),
    ]


def test_saving_again_removes_the_curves_that_are_gone(run_dir: RunDir) -> None:
    """A smaller grid leaves no curve of the larger one, and nothing of another step is touched."""
    run_dir.save(StepResult("overfit", curves={"overfit-000": Curve([1.0])}), ORIGIN)
    run_dir.save(grid_result(**{"coarse-000": Curve([9.0])}), ORIGIN)
    assert {path.name for path in (run_dir.path / "curves").iterdir()} == {
        "coarse-000.csv",
        "overfit-000.csv",
    }
    stored = run_dir.load("coarse-grid")
    assert stored is not None
    assert stored.result.curves == {"coarse-000": Curve([9.0])}


def truncate(path: Path) -> None:
    """Cut a file in half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def edit(key: str, value: Any) -> Callable[[Path], Any]:
    """Return what replaces a key of a JSON file."""
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        pytest.param(truncate, "coarse.json", id="cut short"),
        pytest.param(lambda path: path.write_bytes(b""), "coarse.json", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"\xff\x00\xfe"), "coarse.json", id="binary"),
        pytest.param(lambda path: path.write_text("[1]"), "coarse.json", id="a list"),
        pytest.param(lambda path: path.write_text("{}"), "coarse.json", id="another program's"),
        pytest.param(lambda path: (path.unlink(), path.mkdir()), "coarse.json", id="a folder"),
        pytest.param(edit("schema", 99), "coarse.json", id="another schema"),
        pytest.param(edit("step", "overfit"), "coarse.json", id="another step"),
        pytest.param(edit("findings", [{"code": 1}]), "coarse.json", id="half a finding"),
        pytest.param(edit("findings", 3), "coarse.json", id="findings of a wrong type"),
        pytest.param(edit("summary", None), "coarse.json", id="no summary"),
        pytest.param(edit("made_from", 3), "coarse.json", id="no origin"),
        pytest.param(edit("curves", ["coarse-000"]), "coarse.json", id="no digests"),
        pytest.param(truncate, "curves/coarse-000.csv", id="curve cut short"),
        pytest.param(lambda path: path.write_text("step,loss\n"), "curves/coarse-000.csv", id="curve edited"),
        pytest.param(lambda path: path.write_bytes(b"\xff"), "curves/coarse-001.csv", id="curve binary"),
        pytest.param(Path.unlink, "curves/coarse-001.csv", id="curve missing"),
    ],
)
def test_a_damaged_file_is_named_and_set_aside(
    tmp_path: Path, damage: Callable[[Path], Any], name: str
) -> None:
    """It is not used, not lost and not read a second time; other results are untouched."""
    notes: list[str] = []
    run_dir = RunDir(tmp_path, notes.append)
    run_dir.save(StepResult("overfit", summary={"steps": 3}), ORIGIN)
    run_dir.save(grid_result(**{"coarse-000": CURVE, "coarse-001": Curve([3.0])}), ORIGIN)
    path = tmp_path / name
    damage(path)
    was_there = path.exists()
    assert run_dir.load("coarse-grid") is None
    (note,) = notes
    said = f"set aside as {path.name}.damaged" if was_there else "missing"
    assert note.startswith(f"{path}: ")
    assert said in note
    assert not path.exists()
    assert path.with_name(f"{path.name}.damaged").exists() == was_there
    assert run_dir.load("overfit") is not None


def test_a_step_saved_after_damage_is_read_again(tmp_path: Path) -> None:
    """Setting aside makes way for the new result."""
    run_dir = RunDir(tmp_path)
    run_dir.save(grid_result(**{"coarse-000": CURVE}), ORIGIN)
    for _ in range(2):
        truncate(tmp_path / "curves" / "coarse-000.csv")
        assert run_dir.load("coarse-grid") is None
        run_dir.save(grid_result(**{"coarse-000": CURVE}), ORIGIN)
        assert run_dir.load("coarse-grid") is not None


def test_a_write_that_fails_leaves_the_old_file_and_no_rest(tmp_path: Path) -> None:
    """A file is there whole or as it was; temporary ones are cleaned up."""
    run_dir = RunDir(tmp_path)
    (tmp_path / "best.yaml").mkdir()
    with pytest.raises(RunDirError, match=r"run_dir: cannot write .*best\.yaml: "):
        run_dir.write("best.yaml", "lr: 0.1\n")
    assert [path.name for path in tmp_path.iterdir()] == ["best.yaml"]
    assert run_dir.write("report.html", "old") == digest_of("old")
    run_dir.write("report.html", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.yaml", "report.html"]
    assert (tmp_path / "report.html").read_text() == "new"


@pytest.mark.parametrize("inner", ["file", "file/deeper"], ids=["a file", "below a file"])
def test_a_directory_that_cannot_be(tmp_path: Path, inner: str) -> None:
    """A path that is taken by a file is a RunDirError that says how to choose another."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirError, match=r"run_dir: cannot write to .*; choose another with --run-dir"):
        RunDir(tmp_path / inner)


def test_the_directory_is_made(tmp_path: Path) -> None:
    """Missing parents are made too, and nothing is left of asking whether it can be written."""
    RunDir(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


@pytest.mark.parametrize(
    "curve",
    [
        pytest.param(CURVE, id="losses and evaluations"),
        pytest.param(Curve(), id="empty"),
        pytest.param(Curve([0.1 + 0.2, 1e-300, 1e300]), id="every digit"),
        pytest.param(
            Curve([], [{"epoch": 0, "step": 0, "train_loss": 1.0, "val_loss": None}]), id="never trained"
        ),
        pytest.param(
            Curve([1.0], [{"epoch": 0, "step": 1, "train_loss": 1.0, "val_loss": 2.0, 'a, "b"': -3.5}]),
            id="odd metric name",
        ),
        pytest.param(
            Curve(
                [1.0, 2.0],
                [
                    {"epoch": 0, "step": 2, "train_loss": 1.0, "val_loss": 2.0},
                    {"epoch": 1, "step": 2, "train_loss": 3.0, "val_loss": 4.0},
                ],
            ),
            id="two evaluations of one step",
        ),
    ],
)
def test_a_curve_survives_its_csv(curve: Curve) -> None:
    """Writing and reading a curve gives the same numbers, to the last bit."""
    assert curve_from_csv(curve_to_csv(curve)) == curve


def test_an_empty_directory_does_not_stay_behind(tmp_path: Path) -> None:
    """What was made and never written to goes, with its parents; what was there or holds something stays."""
    RunDir(tmp_path / "runs" / "one").remove_if_empty()
    assert not (tmp_path / "runs").exists()
    RunDir(tmp_path).remove_if_empty()
    assert tmp_path.is_dir()
    kept = RunDir(tmp_path / "runs" / "two")
    kept.write("x.txt", "x")
    kept.remove_if_empty()
    assert (kept.path / "x.txt").is_file()


@pytest.mark.parametrize(
    ("number", "held"), [(errno.EAGAIN, True), (errno.EACCES, True), (errno.ENOLCK, False)]
)
def test_a_file_system_without_locks_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, held: bool
) -> None:
    """What another process holds is refused; where there are no locks at all nobody can hold one."""

    def flock(*_: object) -> None:
        raise OSError(number, "no lock")

    monkeypatch.setattr("lrtune.folder_lock.fcntl.flock", flock)
    entered = []
    with (
        pytest.raises(RunDirError, match="another lrtune") if held else nullcontext(),
        RunDir(tmp_path).locked(),
    ):
        entered.append(True)
    assert bool(entered) != held
