"""A result for GitHub Actions: annotations by workflow commands, and the job's summary in Markdown.

Both follow GitHub's "Workflow commands for GitHub Actions": the escapes of data and of properties, at most ten
annotations of a kind a step of the job (here one a step of the recipe), and summaries of at most 1 MiB.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.reports.answers import answer
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.results import Finding, StepResult

Place = tuple[str, int]  # a file, from the root of the repository, and a line of it

_MOST_BYTES = 1024 * 1024 - 1  # of a summary; one that is longer is not shown at all
_CUT = "\n\n… the rest is left out: GitHub shows at most 1 MiB\n"
_COMMANDS = {"error": "error", "warning": "warning"}  # an `info` is no annotation
_SHOWN = {"pass": "✅ pass", "warn": "⚠️ warn", "fail": "❌ fail", "skipped": "⏭️ skipped"}


def commands(result: StepResult, strict: bool = False, place: Place | None = None) -> str:
    """Return a line a step for the log, each followed by one annotation where there is something to mend.

    Args:
        result: Of a step, or of several.
        strict: Warnings are errors.
        place: What the annotations point to: where the task is made.
    """
    lines = []
    for step in result.steps or [result]:
        found = " ".join(answer(step).split())  # a line of its own could be taken for a command
        lines.append(f"lrtune {step.step}: {step.verdict} ({step.seconds:.1f} s) {found}".rstrip())
        if told := [found for found in step.findings if found.severity in _COMMANDS]:
            lines.append(_annotation(step, told, strict, place))
    lines += [f"lrtune {name}: not run, a step before it failed" for name in _not_run(result)]
    return "\n".join(lines) + "\n"


def _annotation(step: StepResult, told: Sequence[Finding], strict: bool, place: Place | None) -> str:
    """Tell the first cause, and the rest by their codes."""
    cause = next((found for found in told if not found.follows_from), told[0])
    worst = "error" if strict or any(found.severity == "error" for found in told) else "warning"
    title = f"lrtune {step.step}: {cause.code}"
    text = [cause.message, f"Fix: {cause.fix}", f"More: lrtune explain {cause.code}"]
    rest = list(dict.fromkeys(found.code for found in told if found.code != cause.code))
    text += [f"Also: {', '.join(rest)}"] if rest else []
    where = {"file": place[0], "line": str(place[1])} if place else {}
    properties = ",".join(f"{key}={_property(value)}" for key, value in {**where, "title": title}.items())
    return f"::{worst} {properties}::{_data(chr(10).join(text))}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def summary(result: StepResult, strict: bool = False, written: int = 0) -> str:
    """Return a summary of the job in Markdown, cut where it would be too long to be shown.

    Args:
        result: Of a step, or of several.
        strict: Warnings fail.
        written: Bytes that stand in the summary's file already.
    """
    from lrtune.reports.markdown import escaped

    verdict = "fail" if strict and result.verdict == "warn" else result.verdict
    rows = [
        [f"`{step.step}`", _word(step), escaped(answer(step)), f"{step.seconds:.1f} s"]
        for step in _steps(result)
    ]
    rows += [[f"`{name}`", "not run", "", ""] for name in _not_run(result)]
    blocks = [f"## lrtune {result.step}: {_SHOWN[verdict]}", _table(rows)]
    compared = [one for step in _steps(result) for one in step.details.get("baseline") or ()]
    if compared:
        blocks += ["### Against the baseline", _compared(compared)]
    for step in _steps(result):
        if step.findings:
            blocks += [f"### {step.step}", "\n".join(map(_item, step.findings))]
    blocks.append(f"lrtune {__version__}, {result.seconds:.1f} s in all")
    return _cut("\n\n".join(blocks) + "\n\n", _MOST_BYTES - written)


def _cut(text: str, most: int) -> str:
    data = text.encode()
    if len(data) <= most:
        return text
    kept = data[: max(0, most - len(_CUT.encode()))].decode(errors="ignore")
    whole = kept.rpartition("\n")[0]  # half a line of Markdown may open what nothing closes
    return whole + _CUT if most >= len(_CUT.encode()) else ""


def _item(finding: Finding) -> str:
    from lrtune.reports.markdown import escaped

    indent = "  " if finding.follows_from else ""
    fix = "" if finding.follows_from else f" **Fix:** {escaped(finding.fix)}"
    return f"{indent}- **{finding.severity}** `{finding.code}`: {escaped(finding.message)}{fix}"


def _compared(rows: Sequence[dict[str, object]]) -> str:
    from lrtune.reports.markdown import escaped

    lines = [[escaped(row[key]) for key in ("what", "baseline", "now", "allowed")] for row in rows]
    return _lines(["", "baseline", "now", "allowed"], lines)


def _table(rows: list[list[str]]) -> str:
    return _lines(["step", "verdict", "found", "time"], rows)


def _lines(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [heads, ["---"] * len(heads), *rows])


def _steps(result: StepResult) -> Sequence[StepResult]:
    return result.steps or [result]


def _word(step: StepResult) -> str:
    return _SHOWN["skipped" if step.details.get("skipped") else step.verdict]


def _not_run(result: StepResult) -> Sequence[str]:
    return result.summary.get("not_run") or ()
