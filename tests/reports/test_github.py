from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from lrtune.checks.catalogue import finding
from lrtune.reports.github import commands, summary
from lrtune.results import StepResult

MEBIBYTE = 1024 * 1024


def check(*steps: StepResult, **fields: Any) -> StepResult:
    """Return the result of a check."""
    findings = [found for one in steps for found in one.findings]
    return StepResult("check", findings, fields, 3.5, steps=list(steps))


def read(line: str) -> tuple[str, dict[str, str], str]:
    """Parse a workflow command as GitHub's runner does: its name, its properties and its message."""
    matched = re.fullmatch(r"::(\w+)(?: (.*?))?::(.*)", line)
    assert matched, line
    pairs = (part.partition("=")[::2] for part in (matched[2] or "").split(",") if part)
    back = (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%"))

    def plain(text: str, escapes: Any) -> str:
        for escape, character in escapes:
            text = text.replace(escape, character)
        return text

    return matched[1], {key: plain(value, back) for key, value in pairs}, plain(matched[3], back[2:])


def annotations(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Return the commands among the lines of a log."""
    return [read(line) for line in text.splitlines() if line.startswith("::")]


HIGH = finding("initial-loss-high", "It is 17.")
DEAD = finding("dead-units", "Half are off.")


def test_a_step_that_passes_is_no_annotation() -> None:
    """Each step is a line of the log, and nothing more where nothing is wrong; an info is nothing to mend."""
    told = finding("peers-disagree", "Others say other.")
    step = StepResult(
        "find-lr", [told], {"suggestion": 0.1, "low": 0.05, "high": 0.2, "confidence": "high"}, 2.0
    )
    assert commands(step) == "lrtune find-lr: pass (2.0 s) learning rate 0.1 (0.05 to 0.2), confidence high\n"


def test_one_annotation_a_step() -> None:
    """The first cause is told with its fix, the rest by their codes; it points to the task."""
    symptom = replace(finding("exploding-gradient", "Large."), follows_from="initial-loss-high")
    step = StepResult("check-init", [HIGH, symptom, DEAD], {})
    text = commands(check(step, StepResult("overfit")), place=("a/task.py", 12))
    ((kind, properties, message),) = annotations(text)
    assert kind == "error"
    assert properties == {"file": "a/task.py", "line": "12", "title": "lrtune check-init: initial-loss-high"}
    assert message.splitlines() == [
        "It is 17.",
        f"Fix: {HIGH.fix}",
        "More: lrtune explain initial-loss-high",
        "Also: exploding-gradient, dead-units",
    ]


def test_the_cause_is_told_before_what_follows() -> None:
    """A symptom that stands first does not hide what it follows from."""
    symptom = replace(HIGH, follows_from="dead-units")
    ((_, properties, _),) = annotations(commands(StepResult("check-init", [symptom, DEAD], {})))
    assert properties["title"] == "lrtune check-init: dead-units"


@pytest.mark.parametrize(("strict", "kind"), [(False, "warning"), (True, "error")])
def test_warnings(strict: bool, kind: str) -> None:
    """A warning is one, unless warnings fail."""
    ((found, _, _),) = annotations(commands(StepResult("check-init", [DEAD], {}), strict))
    assert found == kind


def test_any_text_stays_one_command() -> None:
    """Per cent, line breaks, colons and commas come back as they were, and open no second command."""
    nasty = "50% of a: b, c\r\n::error::injected %0A"
    step = StepResult("check-init", [finding("initial-loss-high", nasty, fix="x")], {})
    text = commands(step, place=("odd, name: 100%.py", 1))
    ((_, properties, message),) = annotations(text)
    assert len(text.splitlines()) == 2
    assert message.startswith(nasty)
    assert properties["file"] == "odd, name: 100%.py"
    assert "file=odd%2C name%3A 100%25.py,line=1,title=" in text


def test_without_a_place_there_is_no_file() -> None:
    """What cannot be pointed to is told without."""
    ((_, properties, _),) = annotations(commands(StepResult("check-init", [HIGH], {})))
    assert set(properties) == {"title"}


def test_what_was_not_run_is_said() -> None:
    """Steps after a failure are lines of the log and rows of the summary."""
    result = check(StepResult("check-init", [HIGH], {}), not_run=["overfit"])
    assert "lrtune overfit: not run, a step before it failed" in commands(result)
    assert "| `overfit` | not run |" in summary(result)


def test_the_summary_has_verdicts_findings_and_the_baseline() -> None:
    """A heading with the verdict, a row a step, what was compared, and every finding with its fix."""
    row = {"code": "x", "what": "initial loss", "baseline": "2.3", "now": "17", "allowed": "1 to 3"}
    step = StepResult("check-init", [HIGH, DEAD], {}, 1.0, details={"baseline": [row]})
    late = StepResult("overfit", [], {}, details={"skipped": "No time."})
    lines = summary(check(step, late)).splitlines()
    assert lines[0] == "## lrtune check: ❌ fail"
    assert "| `check-init` | ❌ fail | initial-loss-high | 1.0 s |" in lines
    assert "| `overfit` | ⏭️ skipped |  | 0.0 s |" in lines
    assert "| initial loss | 2.3 | 17 | 1 to 3 |" in lines
    assert f"- **error** `initial-loss-high`: It is 17. **Fix:** {HIGH.fix}" in lines


def test_strict_shows_in_the_summary() -> None:
    """With warnings failing, a warning's heading says so."""
    result = check(StepResult("check-init", [DEAD], {}))
    assert summary(result).startswith("## lrtune check: ⚠️ warn")
    assert summary(result, strict=True).startswith("## lrtune check: ❌ fail")


def test_markup_of_a_message_is_escaped() -> None:
    """A message is text, in lists as in tables."""
    text = summary(StepResult("check-init", [finding("initial-loss-high", "<b>|*x*")], {}))
    assert r"&lt;b&gt;\|\*x\*" in text


@pytest.mark.parametrize("written", [0, 1000, MEBIBYTE - 2000, MEBIBYTE - 20, MEBIBYTE + 5])
def test_a_summary_fits_into_a_mebibyte(written: int) -> None:
    """It is cut at a line, with a note, so that it and what stands there already stay below the limit."""
    many = [finding("initial-loss-high", "é" * 900) for _ in range(1200)]
    text = summary(StepResult("check-init", many, {}), written=written)
    assert len(text.encode()) + written < MEBIBYTE or text == ""
    assert text == "" or text.endswith("the rest is left out: GitHub shows at most 1 MiB\n")
    if written == 0:
        assert len(text.encode()) > MEBIBYTE - 3000


def test_a_short_summary_is_not_cut() -> None:
    """What fits ends as it is."""
    text = summary(StepResult("check-init", [HIGH], {}), written=MEBIBYTE - 5000)
    assert "left out" not in text
    assert "in all" in text
