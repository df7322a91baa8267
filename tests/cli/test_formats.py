from __future__ import annotations

import json
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest

from lrtune.cli.formats import _RENDERERS
from lrtune.cli.options import FORMATS
from lrtune.results import STEPS

if TYPE_CHECKING:
    from .conftest import Project

COMMANDS = {
    "check-init": ("check-init",),
    "overfit": ("overfit",),
    "find-lr": ("find-lr",),
    "coarse-grid": ("grid", "--coarse"),
    "refine-grid": ("grid", "--refine"),
    "report": ("report",),
    "run": ("run",),
}
NAN = "from toy import *\ndef make(): return task(loss=lambda output, target: output.sum() * float('nan'))\n"


def test_every_format_has_its_function() -> None:
    """What the option offers is what can be written."""
    assert set(_RENDERERS) == set(FORMATS)


@pytest.mark.parametrize(("step", "command"), COMMANDS.items(), ids=COMMANDS)
def test_every_command_writes_junit(finished: Project, step: str, command: tuple[str, ...]) -> None:
    """`--format junit` prints one document with a case for the step, or for each of a run."""
    outcome = finished.lrtune(*command, "toy.yaml", "--format", "junit")
    assert outcome.code == 0, outcome.err
    (suite,) = ET.fromstring(outcome.out)
    assert suite.get("name") == f"lrtune {step}"
    names = {case.get("name") for case in suite.iter("testcase")}
    assert names.issuperset(STEPS if step == "run" else {step})


def test_json_by_either_name(finished: Project) -> None:
    """`--json` is short for `--format json`; giving both is no contradiction."""
    for options in (("--json",), ("--format", "json"), ("--json", "--format", "json")):
        assert finished.lrtune("check-init", "toy.yaml", *options).json["step"] == "check-init"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--json", "--format", "junit"), "give at most one of --json and --format junit"),
        (("--json", "--format", "text"), "give at most one of --json and --format text"),
        (("--format", "xml"), "--format: expected one of text, json, junit, github, got 'xml'"),
        (("--format", ""), "--format: expected one of text, json, junit, github, got ''"),
        (("--format", "jnuit"), "got 'jnuit'; did you mean 'junit'?"),
        (("--output", "no/a.xml"), "--output: cannot write no/a.xml: there is no folder no"),
        (("--output", "out"), "--output: cannot write out: it is a folder"),
        (("--output", "/dev/null"), "--output: cannot write /dev/null: it is no ordinary file"),
    ],
    ids=["two formats", "json and text", "unknown", "empty", "typo", "no folder", "a folder", "a device"],
)
def test_bad_usage(project: Project, options: tuple[str, ...], message: str) -> None:
    """One message and code 2, before any work."""
    project.out.mkdir()
    outcome = project.lrtune("check-init", "toy.yaml", *options)
    assert (outcome.code, outcome.out) == (2, "")
    assert message in outcome.err
    assert list(project.out.iterdir()) == []


@pytest.mark.parametrize("form", ["json", "junit", "github"])
def test_output_keeps_stdout_empty(finished: Project, form: str) -> None:
    """The file gets the format, stdout nothing, and stderr what a person would have read."""
    outcome = finished.lrtune("report", "toy.yaml", "--format", form, "--output", "a.txt")
    assert (outcome.code, outcome.out) == (0, "")
    assert "report       PASS" in outcome.err
    assert outcome.err.endswith(f"wrote the result of report to a.txt ({form})\n")
    written = (finished.folder / "a.txt").read_text(encoding="utf-8")
    if form == "json":
        assert json.loads(written)["step"] == "report"
    assert written.endswith("\n")


def test_text_into_a_file(finished: Project) -> None:
    """What a person reads can be kept: the same as on stdout."""
    printed = finished.lrtune("run", "toy.yaml")
    kept = finished.lrtune("run", "toy.yaml", "--output", "a.txt")
    assert kept.out == ""
    lines = (finished.folder / "a.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not line.startswith("report")] == [
        line for line in printed.out.splitlines() if not line.startswith("report")
    ]


def test_quiet_output_says_nothing(finished: Project) -> None:
    """With `--quiet` the file is all."""
    outcome = finished.lrtune("run", "toy.yaml", "--format", "junit", "--output", "a.xml", "--quiet")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    assert ET.parse(finished.folder / "a.xml").getroot().tag == "testsuites"


def test_a_failure_writes_its_file_and_fails(project: Project) -> None:
    """The file of a failed check is written, and the exit code is still 1."""
    project.write("nan.py", NAN)
    outcome = project.lrtune("check-init", "nan.py:make", "--format", "junit", "--output", "a.xml")
    assert outcome.code == 1
    failed = ET.parse(project.folder / "a.xml").getroot().iterfind(".//testcase[failure]")
    assert {"check-init", "nonfinite-loss"} <= {case.get("name") for case in failed}


def test_bad_usage_leaves_the_old_file(project: Project) -> None:
    """A config that is wrong does not cost what an earlier run wrote."""
    project.write("a.xml", "old")
    assert project.lrtune("check-init", "no.yaml", "--format", "junit", "--output", "a.xml").code == 2
    assert (project.folder / "a.xml").read_text() == "old"


def test_github_annotates_the_task(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The annotation names file and line from the root of the checkout; the summary is appended to GitHub's file."""
    project.write("nan.py", NAN)
    project.write("summary.md", "before\n")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(project.folder.parent))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.folder / "summary.md"))
    outcome = project.lrtune("check-init", "nan.py:make", "--format", "github")
    assert outcome.code == 1
    log, annotation = outcome.out.splitlines()
    assert log.startswith("lrtune check-init: fail")
    assert annotation.startswith(
        f"::error file={project.folder.name}/nan.py,line=2,title=lrtune check-init%3A nonfinite-loss::"
    )
    summary = (project.folder / "summary.md").read_text(encoding="utf-8")
    assert summary.startswith("before\n## lrtune check-init: ❌ fail")
    assert "`nonfinite-loss`" in summary


def test_a_summary_that_cannot_be_written_is_no_failure(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is printed all the same, and stderr says what is missing."""
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project.folder / "no" / "summary.md"))
    outcome = project.lrtune("check-init", "toy.yaml", "--format", "github")
    assert outcome.code == 0
    assert outcome.out.startswith("lrtune check-init: pass")
    assert "GITHUB_STEP_SUMMARY: cannot write" in outcome.err
