from __future__ import annotations

import json
import os
import re
import shutil
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Project

ROOT = Path(__file__).parents[2]
STEPS = ("check-init", "overfit", "find-lr")
NAN = "from toy import *\ndef make(): return task(loss=lambda output, target: output.sum() * float('nan'))\n"

# The digits example with one thing changed, under its own name; what is changed is the value of HOW.
BROKEN = """\
import dataclasses, importlib.util, torch
spec = importlib.util.spec_from_file_location("healthy", {example!r})
healthy = importlib.util.module_from_spec(spec)
spec.loader.exec_module(healthy)

def scaled(hidden):
    model = healthy.make_mlp(hidden)
    with torch.no_grad():
        model[-1].weight *= 100
    return model

def softmax(hidden):
    return torch.nn.Sequential(healthy.make_mlp(hidden), torch.nn.Softmax(dim=1))

def halved(model, lr, weight_decay):
    return torch.optim.SGD(model.parameters(), 2 * lr, momentum=0.9, weight_decay=weight_decay)

def make_task(hidden=128):
    how = {{
        "healthy": {{}},
        "scaled": {{"model": lambda: scaled(hidden)}},
        "softmax": {{"model": lambda: softmax(hidden)}},
        "halved": {{"optimizer": halved}},
    }}
    return dataclasses.replace(healthy.make_task(hidden), **how[{how!r}])
"""


def reused(text: str) -> bool:
    """Say whether a result was taken from the run directory."""
    return "nothing has changed" in text


def test_three_steps_as_one_object(project: Project) -> None:
    """`check --json` prints one object like that of `run`, and exits with 0."""
    outcome = project.lrtune("check", "toy.yaml", "--json")
    assert outcome.code == 0, outcome.err
    found = outcome.json
    assert (found["schema"], found["step"], found["verdict"]) == (1, "check", "pass")
    assert [step["step"] for step in found["steps"]] == list(STEPS)
    assert not (project.out / "coarse.json").exists()


def test_text_has_a_block_a_step(project: Project) -> None:
    """A person sees each step, then how long it took in all and what comes next."""
    outcome = project.lrtune("check", "toy.yaml")
    heads = [line.split()[0] for line in outcome.out.splitlines() if line and not line.startswith(" ")]
    assert heads == list(STEPS)
    assert outcome.err.splitlines()[-1] == "next: lrtune run toy.yaml"
    assert " s in all, " in outcome.err.splitlines()[-2]


def test_nothing_is_used_again(finished: Project) -> None:
    """What a gate guards includes what no fingerprint sees, so that all is measured anew."""
    outcome = finished.lrtune("check", "toy.yaml", "--json")
    assert not reused(outcome.err)
    assert outcome.json["summary"]["not_run"] == []


def test_nothing_is_kept_unasked(project: Project) -> None:
    """The config's run directory is that of `run`; only one on the command line gets the results."""
    assert project.lrtune("check", "toy.yaml").code == 0
    assert not project.out.exists()
    assert project.lrtune("check", "toy.yaml", "--run-dir", "kept").code == 0
    assert (project.folder / "kept" / "find-lr.json").is_file()


def test_the_baseline_when_quiet(project: Project, known: Path) -> None:
    """With --quiet one line says how many values were compared and that none has moved."""
    shutil.copy(known, project.folder)
    outcome = project.lrtune("check", "toy.yaml", "--baseline", "b.json", "-q")
    assert outcome.code == 0
    (line,) = [line for line in outcome.err.splitlines() if line.startswith("baseline: ")]
    assert re.fullmatch(r"baseline: \d+ values compared, none moved", line)


def test_a_failure_ends_it(project: Project) -> None:
    """The exit code is 1; with --keep-going the other steps run, too."""
    project.write("nan.py", NAN)
    stopped = project.lrtune("check", "nan.py:make", "--json")
    went_on = project.lrtune("check", "nan.py:make", "--json", "--keep-going")
    assert (stopped.code, went_on.code) == (1, 1)
    assert [step["step"] for step in stopped.json["steps"]] == ["check-init"]
    assert stopped.json["summary"]["not_run"] == ["overfit", "find-lr"]
    assert [step["step"] for step in went_on.json["steps"]] == list(STEPS)


def test_a_budget_too_small_is_said(project: Project) -> None:
    """What there was no time for is a warning, which passes unless it is strict."""
    outcome = project.lrtune("check", "toy.yaml", "--budget", "0.000001", "--json")
    assert outcome.code == 0
    assert outcome.json["verdict"] == "warn"
    assert outcome.json["summary"]["skipped"] == list(STEPS)
    strict = project.lrtune("check", "toy.yaml", "--budget", "0.000001", "--strict")
    assert strict.code == 1
    assert strict.out.count("warning out-of-time") == 3
    assert "next:" in strict.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--budget", "0"), "budget: expected seconds above 0, got 0"),
        (("--update-baseline",), "--update-baseline: name the file with --baseline FILE"),
        (
            ("--update-baseline", "--baseline", "no/b.json"),
            "--baseline: cannot write no/b.json: there is no folder no",
        ),
        (("--baseline", "b.json"), "b.json: no such file; --update-baseline writes a first one"),
    ],
    ids=["budget", "no file", "no folder", "no baseline"],
)
def test_bad_usage(project: Project, options: tuple[str, ...], message: str) -> None:
    """One message and code 2, before any step."""
    outcome = project.lrtune("check", "toy.yaml", "--json", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"lrtune: error: {message}\n"
    assert not (project.out / "check-init.json").exists()


def test_no_network(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket is connected to anything but this machine's own."""

    def refuse(self: socket.socket, address: Any) -> None:
        raise AssertionError(f"connects to {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert project.lrtune("check", "toy.yaml", "--json").code == 0


def test_no_tricks_off_a_terminal(project: Project) -> None:
    """In a pipeline nothing moves the cursor, not even where colours are forced; without that there are none."""
    forced = project.process("check", "toy.yaml", GITHUB_ACTIONS="true", FORCE_COLOR="1")
    assert forced.code == 0, forced.err
    plain = re.sub(r"\x1b\[[0-9;]*m", "", forced.out + forced.err)
    assert not {character for character in plain if ord(character) < 32} - {"\n"}
    outcome = project.lrtune("check", "toy.yaml")
    assert not {character for character in outcome.out + outcome.err if ord(character) < 32} - {"\n"}


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A baseline of the toy, written by `check --update-baseline`."""
    from .conftest import _made

    project = _made(tmp_path_factory.mktemp("known"))
    outcome = project.lrtune("check", "toy.yaml", "--baseline", "b.json", "--update-baseline")
    assert outcome.code == 0, outcome.err
    assert "wrote the baseline b.json" in outcome.err
    return project.folder / "b.json"


def test_the_baseline_of_the_same_passes(project: Project, known: Path) -> None:
    """Nothing has moved, and the result says what it was compared with."""
    shutil.copy(known, project.folder)
    outcome = project.lrtune("check", "toy.yaml", "--baseline", "b.json", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.json["summary"]["baseline"] == "b.json"


def test_a_step_that_was_not_done_is_not_compared(project: Project, known: Path) -> None:
    """Where the budget is used up, a baseline finds nothing to compare, and says nothing has moved."""
    shutil.copy(known, project.folder)
    options = ("--baseline", "b.json", "--budget", "0.000001", "--keep-going")
    outcome = project.lrtune("check", "toy.yaml", *options, "--json")
    assert outcome.code == 0, outcome.err
    found = [[one["code"] for one in step["findings"]] for step in outcome.json["steps"]]
    assert found == [["out-of-time"]] * 3


def test_a_person_sees_what_was_compared(project: Project, known: Path) -> None:
    """Under each step stands what the baseline has, what there is now, and what is noise; in 80 columns."""
    shutil.copy(known, project.folder)
    outcome = project.lrtune("check", "toy.yaml", "--baseline", "b.json")
    lines = outcome.out.splitlines()
    assert sum(line.split() == ["against", "baseline", "now", "allowed"] for line in lines) == 3
    for what in ("initial loss", "steps to overfit", "learning rate"):
        assert any(
            line.startswith(f"  {what}  ") and line.count(" to ") + line.count("<=") > 0 for line in lines
        )
    assert max(map(len, lines)) <= 80


def test_other_settings_are_refused(project: Project, known: Path) -> None:
    """A baseline of another batch size is not compared with."""
    shutil.copy(known, project.folder)
    outcome = project.lrtune("check", "toy.yaml", "--baseline", "b.json", "--set", "batch_size=32")
    assert (outcome.code, outcome.out) == (2, "")
    assert "b.json: was made with other settings (batch_size: 16 there, 32 here)" in outcome.err


def test_a_training_that_fails_makes_no_baseline(project: Project) -> None:
    """What is broken is not what later runs are to be like."""
    project.write("nan.py", NAN)
    outcome = project.lrtune("check", "nan.py:make", "--baseline", "b.json", "--update-baseline")
    assert outcome.code == 1
    assert "b.json: not written, because a step failed" in outcome.err
    assert not (project.folder / "b.json").exists()


def test_run_compares_the_grid_too(finished: Project) -> None:
    """`run --update-baseline` keeps the coarse grid's best loss; a worse one is a finding of that step."""
    assert finished.lrtune("run", "toy.yaml", "--baseline", "b.json", "--update-baseline").code == 0
    content = finished.read("b.json")
    assert list(content["steps"]) == ["check-init", "overfit", "find-lr", "coarse-grid"]
    content["steps"]["coarse-grid"]["loss"] -= 0.5
    finished.write("b.json", json.dumps(content))
    outcome = finished.lrtune("run", "toy.yaml", "--baseline", "b.json", "--json")
    assert outcome.code == 1
    codes = {step["step"]: [found["code"] for found in step["findings"]] for step in outcome.json["steps"]}
    assert "regression-coarse-loss" in codes["coarse-grid"]
    assert "refine-grid" not in codes
    assert "regression-coarse-loss" not in json.dumps(finished.record("coarse.json"))


# What a pull request can do to the digits example, and the codes that have to be told, causes first.
CHANGES = {
    "healthy": [],
    "scaled": ["initial-loss-high", "regression-initial-loss"],
    "softmax": ["double-softmax"],
    "halved": ["regression-learning-rate"],
}


@pytest.mark.parametrize(("how", "expected"), CHANGES.items(), ids=CHANGES)
def test_a_pull_request_that_breaks_training_fails(project: Project, how: str, expected: list[str]) -> None:
    """The committed baseline of the example passes as it is; each planted fault fails and is named."""
    example = str(ROOT / "examples" / "digits_mlp.py")
    project.write("digits_mlp.py", BROKEN.format(example=example, how=how))
    text = (ROOT / "configs" / "digits-mlp.yaml").read_text().replace("../examples/", "")
    project.write("digits.yaml", text)
    baseline = str(ROOT / "configs" / "digits-mlp.baseline.json")
    outcome = project.lrtune(
        "check", "digits.yaml", "--baseline", baseline, "--budget", "600", "--run-dir", "out", "--json"
    )
    assert outcome.code == (1 if expected else 0), outcome.err
    findings = [found for step in outcome.json["steps"] for found in step["findings"]]
    errors = [found["code"] for found in findings if found["severity"] == "error"]
    assert errors == expected
    if "regression-learning-rate" in expected:
        (moved,) = [found for found in findings if found["severity"] == "error"]
        assert "0.056 (0.022 to 0.22)" in moved["message"]  # the baseline's
        assert "lie lower" in moved["message"]


def test_another_seed_of_the_example_is_noise(project: Project) -> None:
    """A change that merely shifts noise passes, as another seed does."""
    baseline = str(ROOT / "configs" / "digits-mlp.baseline.json")
    config = str(ROOT / "configs" / "digits-mlp.yaml")
    options = ("--seed", "11", "--budget", "600", "--run-dir", "out", "--json")
    outcome = project.lrtune("check", config, "--baseline", baseline, *options)
    assert outcome.code == 0, outcome.json
    compared = {found["code"] for found in outcome.json["findings"]}
    assert not {code for code in compared if code.startswith("regression")} - {"regression-time"}
    assert os.path.isfile(baseline)
