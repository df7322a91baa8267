from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

import lrtune
from lrtune.checks.catalogue import catalogue
from lrtune.results import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .conftest import Outcome, Project

Number = (int, float)
MaybeNumber = (int, float, type(None))
MaybeText = (str, type(None))
MaybeObject = (dict, type(None))

# The JSON object of the design, section 3: key -> types.
HEAD = {
    "schema": int,
    "lrtune": str,
    "step": str,
    "verdict": str,
    "seconds": Number,
    "run_dir": MaybeText,
    "findings": list,
    "summary": dict,
}
FINDING = {
    "code": str,
    "severity": str,
    "message": str,
    "measured": (int, float, str, type(None)),
    "expected": MaybeText,
    "fix": str,
    "source": str,
}
TRIAL = {
    "lr": Number,
    "weight_decay": Number,
    "val_loss": MaybeNumber,
    "train_loss": MaybeNumber,
    "metrics": dict,
    "steps": int,
    "state": str,
    "seed": int,
}
GRID = {"best": MaybeObject, "trials": list}
SUMMARY: dict[str, dict[str, Any]] = {
    "check-init": {
        "initial_loss": MaybeNumber,
        "expected_low": MaybeNumber,
        "expected_high": MaybeNumber,
        "standard_error": MaybeNumber,
        "parameters": int,
    },
    "overfit": {
        "loss_first": MaybeNumber,
        "loss_last": MaybeNumber,
        "accuracy": MaybeNumber,
        "learning_rate": MaybeNumber,
        "steps": int,
    },
    "find-lr": {
        "suggestion": MaybeNumber,
        "low": MaybeNumber,
        "high": MaybeNumber,
        "diverged_at": MaybeNumber,
        "confidence": str,
        "repeats": int,
    },
    "coarse-grid": GRID,
    "refine-grid": GRID,
    "report": {"html": MaybeText, "best": MaybeObject},
}
COMMANDS = {
    "check-init": ("check-init",),
    "overfit": ("overfit",),
    "find-lr": ("find-lr",),
    "coarse-grid": ("grid", "--coarse"),
    "refine-grid": ("grid", "--refine"),
    "report": ("report",),
}


def assert_fits(value: Mapping[str, Any], schema: Mapping[str, Any], place: str) -> None:
    """Assert that an object has a schema's keys with values of its types (a bool is no number)."""
    for key, types in schema.items():
        assert key in value, f"{place}: no {key}"
        assert isinstance(value[key], types), f"{place}.{key}: {value[key]!r}"
        assert not isinstance(value[key], bool), f"{place}.{key}: {value[key]!r}"


def assert_is_step(found: Mapping[str, Any], step: str) -> None:
    """Assert that an object is the design's, for this step, down to findings and trials."""
    assert_fits(found, HEAD, step)
    assert (found["schema"], found["lrtune"], found["step"]) == (1, lrtune.__version__, step)
    assert found["verdict"] in ("pass", "warn", "fail")
    for finding in found["findings"]:
        assert_fits(finding, FINDING, step)
        assert catalogue()[finding["code"]].severity == finding["severity"]
    severities = {finding["severity"] for finding in found["findings"]}
    worst = "fail" if "error" in severities else "warn" if "warning" in severities else "pass"
    assert found["verdict"] == worst
    summary = found["summary"]
    assert_fits(summary, SUMMARY[step], f"{step}.summary")
    for trial in [*summary.get("trials", []), summary.get("best")]:
        if trial is not None:
            assert_fits(trial, TRIAL, f"{step}.trial")
            assert trial["state"] in ("complete", "diverged", "pruned", "failed")


def test_run_prints_one_object_that_holds_one_for_each_step(first_run: Outcome) -> None:
    """`lrtune run --json` prints a single JSON object with the six steps, each as its own command prints it."""
    assert first_run.code == 0, first_run.err
    assert first_run.json["step"] == "run"
    assert_fits(first_run.json, HEAD | {"steps": list}, "run")
    assert [step["step"] for step in first_run.json["steps"]] == list(STEPS)
    for step in first_run.json["steps"]:
        assert_is_step(step, step["step"])


def test_each_step_is_fed_by_the_one_before(first_run: Outcome) -> None:
    """The grid lies around the suggested rate, the refined grid and the report know the grid's best cell."""
    summaries = {step["step"]: step["summary"] for step in first_run.json["steps"]}
    suggestion = summaries["find-lr"]["suggestion"]
    assert any(trial["lr"] == suggestion for trial in summaries["coarse-grid"]["trials"])
    coarse = summaries["coarse-grid"]["best"]
    settings = [(trial["lr"], trial["weight_decay"]) for trial in summaries["refine-grid"]["trials"]]
    assert (coarse["lr"], coarse["weight_decay"]) in settings
    assert (
        summaries["report"]["best"] == summaries["refine-grid"]["best"] == first_run.json["summary"]["best"]
    )


@pytest.mark.parametrize(("step", "command"), COMMANDS.items(), ids=COMMANDS)
def test_a_command_prints_its_steps_object(finished: Project, step: str, command: tuple[str, ...]) -> None:
    """`--json` puts one object of the step on stdout, its verdict sets the exit code, and numbers repeat a run's."""
    outcome = finished.lrtune(*command, "toy.yaml", "--json")
    assert_is_step(outcome.json, step)
    assert outcome.code == (1 if outcome.json["verdict"] == "fail" else 0)
    before = finished.lrtune(*command, "toy.yaml", "--json") if step == "check-init" else outcome
    assert before.json["summary"] == outcome.json["summary"]


def test_the_run_directory_repeats_what_was_printed(first_run: Outcome, finished: Project) -> None:
    """Each step's file holds the printed object among its keys."""
    names = ("check-init", "overfit", "find-lr", "coarse", "refine", "report")
    for name, printed in zip(names, first_run.json["steps"], strict=True):
        record = finished.record(f"{name}.json")
        assert {key: record[key] for key in printed} == printed


def test_what_is_not_finite_is_null(project: Project) -> None:
    """A loss of NaN fails the check, exits with 1 and prints null."""
    project.write(
        "nan.py", "from toy import *\ndef make(): return task(loss=lambda o, t: o.sum() * float('nan'))\n"
    )
    outcome = project.lrtune("check-init", "nan.py:make", "--json")
    assert outcome.code == 1
    assert_is_step(outcome.json, "check-init")
    assert outcome.json["summary"]["initial_loss"] is None
    assert "nonfinite-loss" in [finding["code"] for finding in outcome.json["findings"]]


def test_a_cell_that_diverges_is_null(project: Project) -> None:
    """A diverged trial has its state and no losses, and the others are unharmed."""
    outcome = project.lrtune("grid", "--coarse", "toy.yaml", "--json", "--set", "coarse.lr=[0.1, 0.3, 1e30]")
    assert_is_step(outcome.json, "coarse-grid")
    trials = {trial["lr"]: trial for trial in outcome.json["summary"]["trials"]}
    assert (trials[1e30]["state"], trials[1e30]["val_loss"]) == ("diverged", None)
    assert (trials[0.3]["state"], trials[0.1]["state"]) == ("complete", "complete")


CHATTY = """\
import os, sys
from toy import *

print("chat: import")

class Loud(torch.nn.Linear):
    def forward(self, inputs):
        print("chat: model")
        sys.__stdout__.write("chat: original stdout")
        os.write(1, b"chat: descriptor")
        return super().forward(inputs)

def make():
    print("chat: task")
    return task(model=lambda: Loud(2, 3))
"""


def test_what_the_users_code_prints_stays_off_stdout(project: Project) -> None:
    """With `--json` stdout is the object alone: prints go to stderr, even past Python's sys.stdout."""
    project.write("chatty.py", CHATTY)
    outcome = project.process("check-init", "chatty.py:make", "--json")
    assert_is_step(outcome.json, "check-init")
    for place in ("import", "task", "model", "original stdout", "descriptor"):
        assert f"chat: {place}" in outcome.err


def test_prints_stay_off_stdout_without_json_too(project: Project) -> None:
    """The text for a person is not mixed with the model's own prints either."""
    project.write(
        "chatty.py", CHATTY.replace("        sys.__", "        # ").replace("        os.", "        # ")
    )
    outcome = project.lrtune("run", "chatty.py:make", "--set", "find_lr.min=1", "--set", "find_lr.max=0.1")
    assert outcome.code == 2
    outcome = project.lrtune("check-init", "chatty.py:make")
    assert outcome.out.startswith("check-init")
    assert "chat:" not in outcome.out
    assert "chat: model" in outcome.err


@pytest.mark.filterwarnings("always::UserWarning")
def test_a_warning_of_the_users_code_is_shown_once(project: Project) -> None:
    """A model that warns whenever it is built says so in one line of stderr, however many are built."""
    project.write(
        "warns.py",
        "import warnings\n"
        "from toy import *\n"
        "def warned():\n"
        "    warnings.warn('old layer')\n"
        "    return build()\n"
        "def make(): return task(model=warned)\n",
    )
    outcome = project.lrtune("find-lr", "warns.py:make", "--json", "--set", "find_lr.steps=20")
    assert outcome.err.count("old layer") == 1
    assert outcome.json["step"] == "find-lr"


@pytest.mark.parametrize("options", [(), ("--json",)], ids=["text", "json"])
def test_quiet_leaves_stderr_empty(project: Project, options: tuple[str, ...]) -> None:
    """A step that passes says nothing on stderr with `--quiet`, not even that it runs an input step."""
    outcome = project.lrtune("check-init", "toy.yaml", "--quiet", *options)
    assert (outcome.code, outcome.err) == (0, "")
    outcome = project.lrtune("grid", "--coarse", "toy.yaml", "-q", *options)
    assert (outcome.code, outcome.err) == (0, "")


def test_notes_go_to_stderr(finished: Project) -> None:
    """That a result is used again is said on stderr, and results alone are on stdout."""
    outcome = finished.lrtune("grid", "--coarse", "toy.yaml")
    assert "find-lr: nothing has changed, taken from out" in outcome.err
    assert "nothing has changed" not in outcome.out
    assert outcome.out.startswith("coarse-grid")


def test_quiet_text_is_one_line_a_step(project: Project) -> None:
    """With `--quiet` a verdict is all."""
    outcome = project.lrtune("check-init", "toy.yaml", "--quiet")
    (line,) = outcome.out.splitlines()
    assert line.split()[:2] == ["check-init", "PASS"]


def test_text_names_the_findings_and_how_to_fix_them(project: Project) -> None:
    """A failed check says its code, what to do, and where to read more."""
    project.write(
        "nan.py", "from toy import *\ndef make(): return task(loss=lambda o, t: o.sum() * float('nan'))\n"
    )
    outcome = project.lrtune("check-init", "nan.py:make")
    assert outcome.code == 1
    assert outcome.out.split()[:2] == ["check-init", "FAIL"]
    for text in ("error nonfinite-loss", "Fix: ", "More: lrtune explain nonfinite-loss"):
        assert text in outcome.out


def test_strict_makes_a_warning_fail(project: Project) -> None:
    """A verdict `warn` exits with 0, with `--strict` with 1; a pass stays 0."""
    narrow = ("find-lr", "toy.yaml", "--json", "--set", "find_lr.max=0.1")
    plain, strict = project.lrtune(*narrow), project.lrtune(*narrow, "--strict")
    assert plain.json["verdict"] == strict.json["verdict"] == "warn"
    assert (plain.code, strict.code) == (0, 1)
    assert project.lrtune("check-init", "toy.yaml", "--strict").code == 0


def test_json_is_the_same_for_machines_and_pipes(first_run: Outcome) -> None:
    """The object ends with a newline and is plain ASCII-safe JSON text."""
    assert first_run.out.endswith("}\n")
    assert json.loads(first_run.out) == json.loads(first_run.out.encode("utf-8"))


@pytest.mark.parametrize(
    "arguments", [("check-init", "toy.yaml"), ("explain",), ("explain", "constant-input")]
)
def test_lines_end_where_their_text_ends(project: Project, arguments: tuple[str, ...]) -> None:
    """What is printed into a pipe is not filled up with spaces."""
    lines = project.lrtune(*arguments).out.splitlines()
    assert lines == [line.rstrip() for line in lines]
