"""The report as Markdown: for a pull request, a lab book, a terminal."""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import MISSING, finite, number
from lrtune.reports.content import Content, Section, content
from lrtune.reports.settings import optimizer_of, torch_line, yaml_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from lrtune.reports.asides import Aside
    from lrtune.results import Finding, StepResult

_MOST_TRIALS = 10
_SPECIAL = re.compile(r"([\\`*_\[\]#|~])")


def render(results: Mapping[str, StepResult], title: str, context: Mapping[str, Any]) -> str:
    """Return the same content as the page, compactly and without charts.

    Args:
        results: What the steps returned, by step.
        title: The heading.
        context: As for the page; any key may be absent.

    Returns:
        GitHub-flavoured Markdown that ends with a line break.
    """
    said = content(results, context)
    blocks = [f"# {escaped(title)}", _answer(said), *_problems(said), *_copies(said, context)]
    blocks += ["## Steps", _steps(said.sections)]
    blocks += [block for section in said.sections if section.result for block in _section(section)]
    return "\n\n".join([*blocks, *_footer(said, context)]) + "\n"


def escaped(text: object) -> str:
    r"""Return `text` so that Markdown shows it as it is, on one line.

    >>> escaped("a|b <i> *c*")
    'a\\|b &lt;i&gt; \\*c\\*'
    """
    flat = " ".join(str(text).split())
    flat = flat.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def fenced(text: str, language: str = "") -> str:
    """Return a code block whose fence is longer than any run of backticks within."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _answer(said: Content) -> str:
    lines = (("Best settings", said.settings), ("They reach", said.reaches), ("Verdict", said.state))
    return "\n".join(f"- **{label}:** {escaped(text)}" for label, text in lines)


def _problems(said: Content) -> list[str]:
    if not said.problems:
        return []
    lines = [f"- {_finding(finding)} (in {section.title})" for section, finding in said.problems]
    return ["## What is wrong", "\n".join(lines)]


def _copies(said: Content, context: Mapping[str, Any]) -> list[str]:
    if not said.best:
        return []
    optimizer = optimizer_of(context)
    return [
        fenced(yaml_lines(said.best, optimizer, said.places), "yaml"),
        fenced(torch_line(said.best, optimizer, said.places), "python"),
    ]


def _steps(sections: Iterable[Section]) -> str:
    rows = [
        [
            str(section.number),
            section.title,
            section.word + (" (stale)" if section.stale else ""),
            ", ".join(f"`{escaped(f.code)}`" for f in section.findings) or MISSING,
            f"{number(section.result.seconds)} s" if section.result else MISSING,
        ]
        for section in sections
    ]
    return table_of(["", "step", "verdict", "findings", "time"], rows)


def _section(section: Section) -> list[str]:
    blocks = []
    if section.findings:
        indents = ("  " if finding.follows_from else "" for finding in section.findings)
        lines = (f"- {_finding(finding)}" for finding in section.findings)
        blocks.append("\n".join(map("".join, zip(indents, lines, strict=True))))
    if section.facts:
        blocks.append("; ".join(f"{escaped(label)} {escaped(value)}" for label, value in section.facts))
    table = section.table
    if table.lines:
        rows = [[escaped(cell) for cell in line.cells] for line in table.lines[:_MOST_TRIALS]]
        blocks.append(table_of([escaped(column) for column in table.columns], rows))
    left = len(table.lines) - _MOST_TRIALS
    if left > 0:
        blocks.append(f"… and {left} more")
    blocks += [block for aside in section.asides for block in _aside(aside)]
    return [f"## {section.number}. {section.title}: {section.word}", *blocks]


def _aside(aside: Aside) -> list[str]:
    """Return a table that GitHub shows when its heading is clicked."""
    rows = [[escaped(cell) for cell in line.cells] for line in aside.table.lines]
    head = f"<details><summary>{escape(aside.title, quote=False)}</summary>"
    return [head, table_of([escaped(column) for column in aside.table.columns], rows), "</details>"]


def _finding(finding: Finding) -> str:
    cause = f", follows from `{escaped(finding.follows_from)}`" if finding.follows_from else ""
    parts = [f"**{finding.severity}** `{escaped(finding.code)}`{cause}: {escaped(finding.message)}"]
    measured = number(finding.measured, 4) if finite(finding.measured) is not None else finding.measured
    judged = (("measured", measured), ("expected", finding.expected))
    known = [f"{word} {escaped(value)}" for word, value in judged if value is not None]
    parts += [f"({', '.join(known)})"] if known else []
    word = "Next" if finding.severity == "info" else "Fix"
    parts += [f"**{word}:** {escaped(finding.fix)}"] if finding.fix and not cause else []
    parts += [f"Threshold: {escaped(finding.source)}"] if finding.source else []
    return " ".join(parts)


def _footer(said: Content, context: Mapping[str, Any]) -> list[str]:
    blocks = ["## How it was obtained"] if said.obtained or said.costs.lines else []
    blocks += ["; ".join(f"{escaped(key)} {escaped(value)}" for key, value in said.obtained)]
    if said.costs.lines:
        rows = [[escaped(cell) for cell in line.cells] for line in said.costs.lines]
        blocks.append(table_of(said.costs.columns, rows))
    if context.get("config_yaml"):
        blocks += ["## Configuration", fenced(str(context["config_yaml"]), "yaml")]
    return [block for block in blocks if block]


def table_of(columns: list[str], rows: list[list[str]]) -> str:
    """Return a table; its cells are escaped already."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
