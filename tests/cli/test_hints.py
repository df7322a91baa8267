from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.checks.catalogue import finding
from lrtune.cli import clock
from lrtune.cli.hints import next_command, print_hints
from lrtune.cli.options import Common
from lrtune.results import StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .conftest import Project


@pytest.mark.parametrize(
    ("step", "command"),
    [
        ("check-init", "lrtune overfit a.yaml"),
        ("overfit", "lrtune find-lr a.yaml"),
        ("find-lr", "lrtune grid --coarse a.yaml"),
        ("coarse-grid", "lrtune grid --refine a.yaml"),
        ("refine-grid", "lrtune report a.yaml"),
        ("report", ""),
        ("run", ""),
        ("check", "lrtune run a.yaml"),
    ],
)
def test_the_recipes_order(step: str, command: str) -> None:
    """After each step the next one is named; after the last there is none."""
    assert next_command(StepResult(step), Common(argument="a.yaml")) == command


def test_what_changes_the_result_is_kept() -> None:
    """The command is the one to copy: with the options that decide what is run, quoted for a shell."""
    common = Common(
        argument="my model.py:make",
        device="cpu",
        seed=3,
        run_dir="out",
        overrides=["coarse.lr=[0.1, 0.3]"],
        strict=True,
    )
    assert next_command(StepResult("overfit"), common) == (
        "lrtune find-lr 'my model.py:make' --set 'coarse.lr=[0.1, 0.3]' --device cpu --seed 3 --run-dir out"
    )


def test_nothing_follows_a_failure() -> None:
    """What is broken is mended first; a warning does not hold up."""
    failed = StepResult("check-init", [finding("initial-loss-high", "High.")])
    warned = StepResult("check-init", [finding("dead-units", "Off.")])
    assert next_command(failed, Common(argument="a.yaml")) == ""
    assert next_command(warned, Common(argument="a.yaml")) == "lrtune overfit a.yaml"


def test_a_person_is_told_the_whole_wait(project: Project) -> None:
    """At its end stderr has the time since the command was given, and what comes next; a pipe's reader gets none."""
    outcome = project.lrtune("check-init", "toy.yaml")
    waited, follows = outcome.err.splitlines()[-2:]
    assert waited.endswith(" s of it loading")
    total, loading = (float(part.split()[0]) for part in waited.split(" in all, "))
    assert total >= loading >= 0
    assert follows == "next: lrtune overfit toy.yaml"
    for options in (("--json",), ("--quiet",), ("--output", "a.txt")):
        assert "next:" not in project.lrtune("check-init", "toy.yaml", *options).err


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[float], None]]:
    """The clock's hands, which stand still but for being set: the seconds since the beginning."""
    now = 100.0
    monkeypatch.setattr("lrtune.cli.clock.time.perf_counter", lambda: now)
    clock.start()

    def put(seconds: float) -> None:
        nonlocal now
        now = 100.0 + seconds

    yield put
    monkeypatch.undo()
    clock.start()


def test_steps_before_the_one_asked_for_are_no_loading(
    hands: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Loading ends where the work begins, whether the result's own time is all of that work or its last part."""
    hands(3.0)
    clock.work_begins()
    hands(32.6)
    for seconds, reused in ((1.1, False), (29.6, False), (500.0, True)):
        print_hints(StepResult("refine-grid", [], seconds=seconds, reused=reused), Common(argument="a.yaml"))
        first = capsys.readouterr().err.splitlines()[0]
        assert first == "32.6 s in all, 3.0 s of it loading"


def test_where_no_task_is_loaded_the_whole_time_is_told(
    hands: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """A report of a run directory loads no task, and a command's loading is not that of the one before."""
    clock.work_begins()
    clock.start()
    hands(2.5)
    print_hints(StepResult("report", [], seconds=1.0), Common(argument="out"))
    assert capsys.readouterr().err == "2.5 s in all\n"


def test_quiet_has_the_answer(finished: Project) -> None:
    """One line a step: the verdict, and what was found."""
    lines = finished.lrtune("run", "toy.yaml", "--quiet").out.splitlines()
    assert len(lines) == 6
    assert "initial loss " in lines[0]
    assert "accuracy 100.0% after " in lines[1]
    assert "learning rate " in lines[2]
    assert "confidence " in lines[2]
    assert all("learning rate " in line and ": validation loss " in line for line in lines[3:])
