from __future__ import annotations

import json
import signal
import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess

    from .conftest import Project

# Each training step takes SLOW seconds and leaves a line in trained.log.
SLOW_TASK = """\
import os, pathlib, time
from toy import *

def slow_loss(output, target):
    if output.requires_grad:
        time.sleep(float(os.environ.get("SLOW", "0")))
        with pathlib.Path("trained.log").open("a") as log:
            log.write("step\\n")
    return nn.functional.cross_entropy(output, target)

def make():
    return task(loss=slow_loss)
"""

CELLS, STEPS = 10, 6
SLOW_CONFIG = """\
task: slow.py:make
device: cpu
batch_size: 16
run_dir: out
population: {execution: serial}
coarse: {lr: [0.1], weight_decay: [0, 1e-12, 2e-12, 3e-12, 4e-12, 5e-12, 6e-12, 7e-12, 8e-12, 9e-12], epochs: 1}
refine: {trials: 8, epochs: 1, seeds: 1, sampler: random}
"""
COMMANDS = {
    "coarse": ("grid", "--coarse", "slow.yaml", "--json"),
    "refine": ("grid", "--refine", "slow.yaml", "--json"),
}
PATIENCE = 60  # seconds until a test gives up; none waits that long


@pytest.fixture
def slow(project: Project) -> Project:
    """A project whose trainings can be watched and slowed down."""
    project.write("slow.py", SLOW_TASK)
    project.write("slow.yaml", SLOW_CONFIG)
    return project


def steps_trained(project: Project) -> int:
    """Return how many training steps have been taken in the project, ever."""
    log = project.folder / "trained.log"
    return len(log.read_text().splitlines()) if log.exists() else 0


def finished_trials(project: Project, name: str) -> list[Any]:
    """Return the trials that are stored by now: in the table of all, which lags behind, or in the study."""
    path = project.out / f"{name}.json"
    rows = list(json.loads(path.read_text())["summary"]["trials"]) if path.exists() else []
    return list({row["curve"]: row for row in (*rows, *told_trials(project, name))}.values())


def told_trials(project: Project, name: str) -> list[Any]:
    """Return the rows of the trials that the study holds by now."""
    if not (project.out / "study.db").exists():
        return []
    query = """
        select value_json from trial_user_attributes join trials using (trial_id) join studies using (study_id)
        where key = 'lrtune' and state = 'COMPLETE' and study_name like ?
    """
    with closing(sqlite3.connect(project.out / "study.db")) as database:
        try:
            return [json.loads(row[0]) for row in database.execute(query, (f"{name}-%",))]
        except sqlite3.OperationalError:  # it is being made
            return []


def wait_for_trials(project: Project, process: subprocess.Popen[str], name: str, count: int) -> None:
    """Wait until the process has stored this many trials."""
    deadline = time.monotonic() + PATIENCE
    while len(finished_trials(project, name)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no trial was stored"
        time.sleep(0.02)


def stop_in_the_middle(project: Project, name: str, how: signal.Signals) -> tuple[int, str, str]:
    """Start a slow grid, stop it when two trials are stored, and return what it left behind."""
    process = project.start(*COMMANDS[name], SLOW="0.05")
    try:
        wait_for_trials(project, process, name, 2)
        process.send_signal(how)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, out, err


def assert_every_file_is_whole(project: Project) -> None:
    """Assert that each result parses strictly and that the study is a sound database."""
    for path in project.out.glob("*.json"):
        project.record(path.name)
    if (project.out / "study.db").exists():
        with sqlite3.connect(project.out / "study.db") as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        database.close()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda how: how.name)
def test_a_coarse_grid_that_is_stopped_goes_on(slow: Project, how: signal.Signals) -> None:
    """What was finished is kept and whole, no complete cell is trained again, and the end is as without a stop."""
    code, out, err = stop_in_the_middle(slow, "coarse", how)
    assert out == ""
    if how is signal.SIGINT:
        assert code == 130
        assert (
            err == "lrtune: interrupted; what was finished is kept, and the same command goes on from there\n"
        )
    else:
        assert code != 0
        assert how is signal.SIGTERM or code == -signal.SIGKILL
    assert_every_file_is_whole(slow)
    kept = finished_trials(slow, "coarse")
    assert 2 <= len(kept) < CELLS  # it did not go on to the end
    assert not slow.record("coarse.json")["complete"]

    before = steps_trained(slow)
    outcome = slow.lrtune(*COMMANDS["coarse"])
    assert outcome.code == 0
    assert outcome.err == f"coarse-grid: {len(kept)} cells are trained already\n"
    assert steps_trained(slow) - before == (CELLS - len(kept)) * STEPS
    assert all(trial in outcome.json["summary"]["trials"] for trial in kept)

    straight = slow.lrtune(*COMMANDS["coarse"], "--run-dir", "straight")
    assert straight.json["summary"] == outcome.json["summary"]
    for path in (slow.folder / "straight" / "curves").iterdir():
        assert (slow.out / "curves" / path.name).read_text() == path.read_text()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=lambda how: how.name)
def test_a_search_that_is_stopped_goes_on(slow: Project, how: signal.Signals) -> None:
    """A refined grid keeps its told trials in a sound study, and trains only those that are missing."""
    assert slow.lrtune(*COMMANDS["coarse"]).code == 0
    code, out, err = stop_in_the_middle(slow, "refine", how)
    assert (code, out) == (130 if how is signal.SIGINT else -signal.SIGKILL, "")
    assert ("interrupted" in err) == (how is signal.SIGINT)
    assert_every_file_is_whole(slow)
    kept = finished_trials(slow, "refine")
    assert 2 <= len(kept) < 8

    before = steps_trained(slow)
    outcome = slow.lrtune(*COMMANDS["refine"])
    assert outcome.code == 0
    trials = outcome.json["summary"]["trials"]
    assert len(trials) == 8
    # A kill between storing a trial and telling the study repeats that one trial, with the same numbers.
    assert steps_trained(slow) - before in ((8 - len(kept)) * STEPS, (9 - len(kept)) * STEPS)
    losses = {(trial["lr"], trial["weight_decay"], trial["val_loss"]) for trial in trials}
    assert {(trial["lr"], trial["weight_decay"], trial["val_loss"]) for trial in kept} <= losses
    assert {trial["curve"] for trial in trials} == {
        path.stem for path in (slow.out / "curves").glob("refine-*")
    }
    assert slow.record("refine.json")["complete"]


@pytest.mark.parametrize("command", ["check-init", "run"])
def test_what_is_said_to_go_on_does(project: Project, command: str) -> None:
    """Only what keeps its parts says that it does."""
    project.write("stopped.py", "def make():\n    raise KeyboardInterrupt\n")
    outcome = project.lrtune(command, "stopped.py:make")
    assert outcome.code == 130
    assert ("goes on from there" in outcome.err) == (command == "run")
    assert outcome.err.startswith("lrtune: interrupted")
