from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from lrtune.cli.target import check_target
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Project

COMMANDS = {
    "check-init": ("check-init",),
    "overfit": ("overfit",),
    "find-lr": ("find-lr",),
    "coarse-grid": ("grid", "--coarse"),
    "report": ("report",),
    "run": ("run",),
}


@pytest.mark.parametrize(("step", "command"), COMMANDS.items(), ids=COMMANDS)
def test_every_command_writes_its_chart(finished: Project, step: str, command: tuple[str, ...]) -> None:
    """`--plot FILE` writes the chart and says so on stderr; with `--json` stdout is the object alone."""
    outcome = finished.lrtune(*command, "toy.yaml", "--json", "--plot", "chart.json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["step"] == step
    assert outcome.err.endswith(f"wrote the chart of {step} to chart.json\n")
    spec = finished.read("chart.json")
    assert "vega-lite" in spec["$schema"]
    assert "mark" in json.dumps(spec)


@pytest.mark.parametrize(
    ("name", "start"), [("a.PNG", b"\x89PNG"), ("a.svg", b"<svg"), ("a.html", b"<!DOCTYPE html>")]
)
def test_formats(finished: Project, name: str, start: bytes) -> None:
    """The suffix names the format, and a file that is there is replaced; the text is the same as without."""
    finished.write(name, "old")
    plain = finished.lrtune("find-lr", "toy.yaml")
    drawn = finished.lrtune("find-lr", "toy.yaml", "--plot", name)
    assert (finished.folder / name).read_bytes().lstrip().startswith(start)
    assert plain.out.splitlines()[2:] == drawn.out.splitlines()[2:]


def test_quiet_writes_without_a_word(finished: Project) -> None:
    """With `--quiet` the chart is written and no note is made of it."""
    outcome = finished.lrtune("find-lr", "toy.yaml", "--quiet", "--plot", "a.svg")
    assert (outcome.code, outcome.err) == (0, "")
    assert (finished.folder / "a.svg").is_file()


def test_a_report_of_a_run_directory(finished: Project) -> None:
    """`report` of a folder draws the best trial's curves."""
    outcome = finished.lrtune("report", "out", "--plot", "a.svg")
    assert outcome.code == 0, outcome.err
    assert "Loss by epoch" in (finished.folder / "a.svg").read_text()


WRONG = {
    "suffix": ("a.pdf", "expected a file ending in one of .png, .svg, .html, .json, got 'a.pdf'"),
    "no suffix": ("chart", "expected a file ending in one of .png, .svg, .html, .json, got 'chart'"),
    "no folder": ("no/such/a.png", "cannot write no/such/a.png: there is no folder no/such"),
    "below a file": ("toy.py/a.png", "cannot write toy.py/a.png: there is no folder toy.py"),
    "a folder": ("dir.png", "cannot write dir.png: it is a folder"),
}


@pytest.mark.parametrize(("name", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_refused_before_the_work(project: Project, name: str, message: str) -> None:
    """What cannot be written is bad usage, one message, and nothing has been run or written by then."""
    (project.folder / "dir.png").mkdir()
    before = sorted(project.folder.iterdir())
    outcome = project.lrtune("check-init", "toy.yaml", "--plot", name)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"lrtune: error: --plot: {message}\n")
    assert sorted(project.folder.iterdir()) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission(tmp_path: Path) -> None:
    """A folder that may not be written to is refused."""
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="Permission denied"):
        check_target("--plot", str(tmp_path / "a.png"))


def test_a_disk_that_takes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder in which no file can be made is refused with the system's reason."""

    def refuse(**_: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("lrtune.cli.target.tempfile.TemporaryFile", refuse)
    with pytest.raises(UsageError, match="Read-only file system"):
        check_target("--plot", str(tmp_path / "a.png"))


def test_checking_leaves_nothing(tmp_path: Path) -> None:
    """A file that can be written is not written yet."""
    check_target("--plot", str(tmp_path / "a.png"))
    assert list(tmp_path.iterdir()) == []
