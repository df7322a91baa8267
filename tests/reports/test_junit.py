from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import junitparser
import pytest

from lrtune.checks.catalogue import catalogue, finding
from lrtune.reports.junit import legal, render
from lrtune.results import StepResult

if TYPE_CHECKING:
    from pathlib import Path

# The structure that Jenkins' xUnit plugin publishes as junit-10.xsd: of each element its children, the attributes it
# must have and those it may have. Text stands only in those that are marked.
TEXT = {"failure", "error", "skipped", "system-out", "system-err"}
SURE = {"type", "message"}
TIME = r"(([0-9]{0,3},)*[0-9]{3}|[0-9]{0,3})*(\.[0-9]*)?"
SUITE = {"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url"}
STRUCTURE: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": ({"testsuite"}, set(), {"name", "time", "tests", "failures", "errors"}),
    "testsuite": (
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
        {"name", "tests", "failures", "errors"},
        SUITE,
    ),
    "properties": ({"property"}, set(), set()),
    "property": (set(), {"name", "value"}, set()),
    "testcase": (
        {"skipped", "error", "failure", "system-out", "system-err"},
        {"name"},
        {"time", "classname", "group"},
    ),
    "failure": (set(), set(), SURE),
    "error": (set(), set(), SURE),
    "skipped": (set(), set(), SURE),
    "system-out": (set(), set(), set()),
    "system-err": (set(), set(), set()),
}


def faults(element: ET.Element) -> list[str]:
    """Return what of an element and those in it the published structure does not allow."""
    if element.tag not in STRUCTURE:
        return [f"unknown element {element.tag}"]
    children, needed, allowed = STRUCTURE[element.tag]
    names = set(element.attrib)
    found = [f"{element.tag} lacks {name}" for name in needed - names]
    found += [f"{element.tag} has {name}" for name in names - needed - allowed]
    found += [f"{child.tag} in {element.tag}" for child in element if child.tag not in children]
    if element.tag not in TEXT and (element.text or "").strip():
        found.append(f"text in {element.tag}")
    if element.tag in ("testsuite", "testsuites") and not re.fullmatch(TIME, element.get("time", "")):
        found.append(f"time {element.get('time')}")
    return [*found, *(fault for child in element for fault in faults(child))]


def written(result: StepResult, strict: bool = False) -> ET.Element:
    """Return the document's suite, having looked at its structure."""
    root = ET.fromstring(render(result, strict))
    assert faults(root) == []
    (suite,) = root
    return suite


def cases(suite: ET.Element) -> dict[tuple[str, str], ET.Element]:
    """Return the cases by step and name."""
    found = {
        (case.get("classname", "").removeprefix("lrtune."), case.get("name", "")): case
        for case in suite.iter("testcase")
    }
    assert len(found) == len(list(suite.iter("testcase")))  # none twice
    return found


def step(name: str, *findings: Any, **fields: Any) -> StepResult:
    """Return a step's result with findings."""
    return StepResult(name, list(findings), **({"seconds": 1.25, "summary": {}} | fields))


def whole(*steps: StepResult, **summary: Any) -> StepResult:
    """Return the result of a check."""
    findings = [found for one in steps for found in one.findings]
    return StepResult("check", findings, summary, 3.5, steps=list(steps))


def test_the_structure_is_told_apart() -> None:
    """The test's own list of what is allowed refuses what the schema does."""
    wrong = '<testsuites skipped="1" time=""><testsuite name="a" time="x">text<testcase/><b/></testsuite></testsuites>'
    assert sorted(faults(ET.fromstring(wrong))) == sorted([
        "testsuites has skipped", "testsuite lacks tests", "testsuite lacks failures", "testsuite lacks errors",
        "b in testsuite", "text in testsuite", "time x", "testcase lacks name", "unknown element b",
    ])  # fmt: skip


def test_a_case_for_each_code() -> None:
    """A step that passes is a case, and so is every code that it knows: all passed."""
    result = step("overfit", summary={"loss_last": 0.01, "steps": 50, "accuracy": 1.0})
    suite = written(result)
    known = [entry.code for entry in catalogue().values() if entry.step == "overfit"]
    assert list(cases(suite)) == [("overfit", name) for name in ["overfit", *known]]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
        str(len(known) + 1),
        "0",
        "0",
    )
    assert all(case.find("failure") is None for case in suite)
    said = cases(suite)["overfit", "overfit"].findtext("system-out")
    assert said == "loss 0.01, accuracy 100.0% after 50 steps"


def test_an_error_is_a_failure_that_says_how_to_mend_it() -> None:
    """Both the step and the code fail; the rest of the step is skipped, since it may not have been looked at."""
    suite = written(step("overfit", finding("cannot-overfit", "No rate learns it.", 0.5, ">= 1")))
    found = cases(suite)
    failure = found["overfit", "cannot-overfit"].find("failure")
    assert failure is not None
    assert (failure.get("message"), failure.get("type")) == ("No rate learns it.", "error")
    for text in (
        "error cannot-overfit: No rate learns it.",
        "measured: 0.5",
        "expected: >= 1",
        "fix: ",
        "explain",
    ):
        assert text in (failure.text or "")
    assert found["overfit", "overfit"].find("failure").get("message") == "overfit failed: cannot-overfit"  # type: ignore[union-attr]
    others = [case for (_, name), case in found.items() if name not in ("overfit", "cannot-overfit")]
    assert all(case.find("skipped") is not None for case in others)
    assert (suite.get("failures"), suite.get("skipped")) == ("2", str(len(others)))


@pytest.mark.parametrize("strict", [False, True])
def test_warnings(strict: bool) -> None:
    """A warning passes with its text as output, and fails where warnings are to."""
    suite = written(step("find-lr", finding("never-diverged", "It held.")), strict)
    case = cases(suite)["find-lr", "never-diverged"]
    assert (case.find("failure") is not None) is strict
    assert "warning never-diverged: It held." in (case.findtext("failure" if strict else "system-out") or "")
    assert suite.get("failures") == ("2" if strict else "0")


def test_what_was_not_run_is_skipped() -> None:
    """Steps that the time did not suffice for, and those after a failure, are cases that were skipped."""
    late = step("overfit", finding("out-of-time", "No time."), details={"skipped": "No time."})
    suite = written(whole(step("check-init"), late, not_run=["find-lr"]))
    found = cases(suite)
    assert found["overfit", "overfit"].find("skipped").get("message") == "No time."  # type: ignore[union-attr]
    assert found["find-lr", "find-lr"].find("skipped") is not None
    assert suite.get("skipped") == "2"
    assert [name for step, name in found if step == "overfit"] == ["overfit"]


def test_what_was_compared_is_a_case() -> None:
    """With a baseline its codes are cases: passed where nothing has moved."""
    compared = {"baseline": [{"code": "regression-initial-loss", "what": "initial loss"}]}
    found = cases(written(step("check-init", details=compared)))
    assert len(found["check-init", "regression-initial-loss"]) == 0
    assert ("check-init", "regression-initial-loss") not in cases(written(step("check-init")))


def test_numbers_are_properties() -> None:
    """Single numbers of the summary stand by `step.key`; what is not finite or a list is left out."""
    best = {"lr": 0.1, "weight_decay": 0.0, "metrics": {"accuracy": 0.9}}
    summary = {"best": best, "trials": [1, 2], "nothing": None, "infinite": float("inf")}
    suite = written(whole(step("coarse-grid", summary=summary)))
    values = {one.get("name"): one.get("value") for one in suite.iter("property")}
    assert values["coarse-grid.best.lr"] == "0.1"
    assert values["coarse-grid.best.metrics.accuracy"] == "0.9"
    assert values["verdict"] == "pass"
    assert not {
        name for name in values if name and ("trials" in name or "nothing" in name or "infinite" in name)
    }


NASTY = 'a<b> & "c" ]]> \x00\x1b[31m \ud800 \ufffe 𝄞 é \n end'


def test_any_text_is_legal_and_comes_back() -> None:
    """Markup, control characters, lone surrogates: the document parses, and says what Python would."""
    suite = written(step("overfit", finding("cannot-overfit", NASTY, fix=NASTY)))
    message = cases(suite)["overfit", "cannot-overfit"].find("failure").get("message")  # type: ignore[union-attr]
    assert message == legal(NASTY)
    assert message == 'a<b> & "c" ]]> \\x00\\x1b[31m \\ud800 \\ufffe 𝄞 é \n end'


def test_the_document_is_ascii() -> None:
    """Whatever encoding a pipe has, the bytes mean the same."""
    text = render(step("overfit", finding("cannot-overfit", "≥ 3 ± é")))
    assert text.isascii()
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')
    assert text.endswith("</testsuites>\n")


def test_a_public_parser_reads_it(tmp_path: Path) -> None:
    """`junitparser` finds the same counts, names and messages."""
    late = step("find-lr", details={"skipped": "No time."})
    result = whole(step("check-init"), step("overfit", finding("cannot-overfit", "No.")), late)
    file = tmp_path / "junit.xml"
    file.write_text(render(result), encoding="utf-8")
    (suite,) = junitparser.JUnitXml.fromfile(str(file))
    assert suite.name == "lrtune check"
    assert suite.time == 3.5
    seen = {(case.classname, case.name): case.result for case in suite}
    assert suite.tests == len(seen)
    (failure,) = seen["lrtune.overfit", "cannot-overfit"]
    assert isinstance(failure, junitparser.Failure)
    assert failure.message == "No."
    (skipped,) = seen["lrtune.find-lr", "find-lr"]
    assert isinstance(skipped, junitparser.Skipped)
    assert not seen["lrtune.check-init", "check-init"]
    counted = [kind for results in seen.values() for kind in results]
    assert suite.failures == sum(isinstance(one, junitparser.Failure) for one in counted)
    assert suite.skipped == sum(isinstance(one, junitparser.Skipped) for one in counted)


def test_what_was_not_examined_is_skipped() -> None:
    """A code that no time was left for has not passed; one that was found all the same has failed."""
    examined = [
        {
            "name": "modes",
            "seconds": 0.0,
            "skipped": "no time left",
            "unseen": ["train-eval-gap", "batch-mixing"],
        },
        {"name": "leaks", "seconds": 0.1, "skipped": "odd \x1b batch", "unseen": ["cannot-overfit"]},
        {"name": "classes", "seconds": 0.1, "skipped": "nothing to measure"},
        {"name": "inputs", "seconds": 0.1, "skipped": None},
    ]
    mixing = finding("batch-mixing", "Mixed.")
    warned = finding("out-of-time", "Not done.")
    suite = written(step("check-init", warned, details={"examined": examined}))
    found = cases(suite)
    told = {name: case.find("skipped") for (_, name), case in found.items()}
    assert {name for name, skipped in told.items() if skipped is not None} == {
        *("train-eval-gap", "batch-mixing", "cannot-overfit")
    }
    assert found["check-init", "train-eval-gap"].find("skipped").get("message") == (  # type: ignore[union-attr]
        "not examined: modes (no time left)"
    )
    assert suite.get("skipped") == "3"
    failed = cases(written(step("check-init", mixing, details={"examined": examined})))
    assert failed["check-init", "batch-mixing"].find("failure") is not None
    assert failed["check-init", "batch-mixing"].find("skipped") is None
