"""A result as JUnit XML, which every continuous integration shows: a suite a run, a case a step and a code.

The dialect is the one that Jenkins' xUnit plugin publishes as a schema (junit-10.xsd), without what Ant's lacks but a
case's `system-out`. A code that a step found nothing of is a case that passed; where the step failed, or did not come
to look for it, one that was skipped.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from lrtune.checks.catalogue import catalogue
from lrtune.reports.answers import answer
from lrtune.results import jsonable
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from lrtune.results import Finding, StepResult

# XML 1.0, section 2.2: all other characters may not stand in a document, not even as references.
_ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FAILING = {False: ("error",), True: ("error", "warning")}  # severities, by `strict`


def render(result: StepResult, strict: bool = False) -> str:
    """Return a result as one XML document that ends with a line break; all of it is ASCII.

    Args:
        result: Of a step, or of several.
        strict: Warnings are failures.
    """
    cases = [case for step in result.steps or [result] for case in _cases(step, strict)]
    cases += [_skipped_step(step) for step in result.summary.get("not_run") or ()]
    suite = _suite(result, cases)
    suite.append(_properties(result))
    suite.extend(cases)
    root = ET.Element("testsuites", {key: suite.attrib[key] for key in ("name", *_COUNTS, "time")})
    root.append(suite)
    ET.indent(root)
    text = ET.tostring(root, encoding="unicode").encode("ascii", "xmlcharrefreplace").decode()
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'


_COUNTS = ("tests", "failures", "errors")


def legal(text: object) -> str:
    r"""Return text that XML can hold: what it cannot is written as in Python's strings.

    >>> legal("red \x1b[31m <b>")
    'red \\x1b[31m <b>'
    """
    return _ILLEGAL.sub(lambda found: ascii(found[0])[1:-1], str(text))


def _suite(result: StepResult, cases: Sequence[ET.Element]) -> ET.Element:
    def count(tag: str) -> str:
        return str(sum(case.find(tag) is not None for case in cases))

    named = {"name": f"lrtune {result.step}", "tests": str(len(cases)), "failures": count("failure")}
    counted = {"errors": "0", "skipped": count("skipped"), "time": f"{result.seconds:.3f}"}
    # Ant's schema asks for these; the machine's own name is nobody's business.
    now = datetime.now().isoformat(timespec="seconds")
    asked = {"timestamp": now, "hostname": "localhost", "id": "0", "package": "lrtune"}
    return ET.Element("testsuite", {**named, **counted, **asked})


def _properties(result: StepResult) -> ET.Element:
    properties = ET.Element("properties")
    values = {"lrtune": __version__, "verdict": result.verdict, "run_dir": result.run_dir}
    for step in result.steps or [result]:
        values |= {f"{step.step}.{key}": value for key, value in _plain(step.summary)}
    for name, value in values.items():
        if value is not None:
            ET.SubElement(properties, "property", name=legal(name), value=legal(value))
    return properties


def _plain(summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield single values; those of the best trial by `best.lr` and so on, the list of trials not at all."""
    for key, value in jsonable(summary).items():
        if isinstance(value, dict):
            yield from ((f"{key}.{inner}", one) for inner, one in _plain(value))
        elif not isinstance(value, list):
            yield key, value


def _cases(step: StepResult, strict: bool) -> Iterator[ET.Element]:
    failing = [found for found in step.findings if found.severity in _FAILING[strict]]
    yield _step_case(step, failing)
    if step.details.get("skipped"):
        return
    found = {finding.code: [f for f in step.findings if f.code == finding.code] for finding in step.findings}
    compared = [one["code"] for one in step.details.get("baseline") or ()]
    unseen = _unseen(step)
    own = [entry.code for entry in catalogue().values() if entry.step == step.step]
    for code in dict.fromkeys([*own, *compared, *found, *unseen]):
        yield _code_case(step, code, found.get(code, []), strict, unseen.get(code))


def _unseen(step: StepResult) -> dict[str, str]:
    """Return the codes that a step has not, or not everywhere, looked for, each with the reason."""
    parts = [one for one in step.details.get("examined") or () if one.get("unseen")]
    return {
        code: f"not examined: {one['name']} ({one['skipped']})" for one in parts for code in one["unseen"]
    }


def _step_case(step: StepResult, failing: Sequence[Finding]) -> ET.Element:
    case = _case(step.step, step.step, step.seconds)
    if skipped := step.details.get("skipped"):
        ET.SubElement(case, "skipped", message=legal(skipped))
    elif failing:
        codes = ", ".join(dict.fromkeys(finding.code for finding in failing))
        _fail(case, f"{step.step} failed: {codes}", step.verdict, "\n\n".join(map(_told, failing)))
    elif said := answer(step):
        ET.SubElement(case, "system-out").text = legal(said)
    return case


def _code_case(
    step: StepResult, code: str, findings: Sequence[Finding], strict: bool, unseen: str | None
) -> ET.Element:
    case = _case(step.step, code, 0.0)
    text = "\n\n".join(map(_told, findings))
    failing = [found for found in findings if found.severity in _FAILING[strict]]
    if failing:
        _fail(case, failing[0].message, failing[0].severity, text)
    elif findings:
        ET.SubElement(case, "system-out").text = legal(text)
    elif step.verdict == "fail":
        why = f"{step.step} failed, and may have ended before it looked for this"
        ET.SubElement(case, "skipped", message=why)
    elif unseen:
        ET.SubElement(case, "skipped", message=legal(unseen))
    return case


def _skipped_step(step: str) -> ET.Element:
    case = _case(step, step, 0.0)
    ET.SubElement(case, "skipped", message="not run: a step before it failed")
    return case


def _case(step: str, name: str, seconds: float) -> ET.Element:
    return ET.Element("testcase", classname=f"lrtune.{step}", name=legal(name), time=f"{seconds:.3f}")


def _fail(case: ET.Element, message: str, kind: str, text: str) -> None:
    """Add one failure, since Jenkins keeps but one a case."""
    ET.SubElement(case, "failure", message=legal(message), type=kind).text = legal(text)


def _told(finding: Finding) -> str:
    lines = [f"{finding.severity} {finding.code}: {finding.message}"]
    judged = (("measured", finding.measured), ("expected", finding.expected), ("fix", finding.fix))
    lines += [f"{word}: {value}" for word, value in judged if value is not None]
    lines += [f"follows from: {finding.follows_from}"] if finding.follows_from else []
    return "\n".join([*lines, f"more: lrtune explain {finding.code}"])
