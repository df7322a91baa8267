from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lrtune.checks.catalogue import finding
from lrtune.cli.hints import next_command
from lrtune.cli.options import Common
from lrtune.results import StepResult

if TYPE_CHECKING:
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


def test_quiet_has_the_answer(finished: Project) -> None:
    """One line a step: the verdict, and what was found."""
    lines = finished.lrtune("run", "toy.yaml", "--quiet").out.splitlines()
    assert len(lines) == 6
    assert "initial loss " in lines[0]
    assert "accuracy 100.0% after " in lines[1]
    assert "learning rate " in lines[2]
    assert "confidence " in lines[2]
    assert all("learning rate " in line and ": validation loss " in line for line in lines[3:])
