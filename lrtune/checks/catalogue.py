"""Every finding's code with its text: `lrtune explain`, the README's table and the findings' own fixes read it.

The texts are data: YAML files in `texts/`, a folder a step and a file a family of checks. A new code is a new entry
there. The order of files and entries is that of likelihood: a cause stands before what may follow from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import yaml

from lrtune.results import Finding

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.results import Severity

FAMILIES = {
    "check-init": (
        "inputs",
        "targets",
        "loss",
        "parameters",
        "behaviour",
        "activations",
        "gradients",
        "initial_loss",
    ),
    "overfit": ("overfitting",),
    "find-lr": ("learning_rate",),
    "coarse-grid": ("coarse",),
    "refine-grid": ("refine",),
    "report": ("curves",),
    "check": ("budget", "baseline"),
}


@dataclass(frozen=True)
class Entry:
    """What a code means.

    Attributes:
        code: The stable name.
        step: The step that reports it first.
        severity: `error`, `warning` or `info`.
        title: A few words.
        why: Why it matters.
        measured: How it is measured.
        threshold: When it is reported.
        source: Where the threshold comes from.
        causes: The likely ones, the likeliest first.
        fix: What to do, in a sentence.
        code_line: The fix as a line of code, or empty.
        false_alarm: When it may be ignored, or empty.
        explains: Codes of symptoms that follow from it.
    """

    code: str
    step: str
    severity: Severity
    title: str
    why: str
    measured: str
    threshold: str
    source: str
    causes: tuple[str, ...]
    fix: str
    code_line: str = ""
    false_alarm: str = ""
    explains: tuple[str, ...] = ()


@cache
def catalogue() -> Mapping[str, Entry]:
    """Return every entry by its code, in the order of the recipe."""
    entries: dict[str, Entry] = {}
    for step, families in FAMILIES.items():
        for family in families:
            text = (
                files("lrtune.checks").joinpath("texts", step, f"{family}.yaml").read_text(encoding="utf-8")
            )
            for code, fields in (yaml.safe_load(text) or {}).items():
                causes, explains = tuple(fields.pop("causes")), tuple(fields.pop("explains", ()))
                entries[code] = Entry(code=code, step=step, causes=causes, explains=explains, **fields)
    return entries


def finding(
    code: str,
    message: str,
    measured: float | str | None = None,
    expected: str | None = None,
    fix: str | None = None,
) -> Finding:
    """Return a finding with the severity, fix and source that the catalogue gives its code.

    Args:
        code: A key of the catalogue.
        message: One sentence with the numbers in it.
        measured: What was judged.
        expected: What it was judged against.
        fix: A fix for just this case, in place of the catalogue's.
    """
    entry = catalogue()[code]
    return Finding(code, entry.severity, message, _plain(measured), expected, fix or entry.fix, entry.source)


def _plain(measured: Any) -> float | str | None:
    return measured if measured is None or isinstance(measured, str) else float(measured)


def markdown_table() -> str:
    """Return every code with its title as the Markdown table of the README."""
    lines = ["| code | step | severity | what it means |", "|---|---|---|---|"]
    lines += [f"| `{one.code}` | {one.step} | {one.severity} | {one.title} |" for one in catalogue().values()]
    return "\n".join(lines)
