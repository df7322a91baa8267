"""One cause, not ten: findings in the order of how likely they are the reason, with what follows from each under it.

The catalogue says what follows from a code (`explains`). A finding that another one explains stays a finding, with its
severity: the loss is too high whatever made it so. It only names its cause, and is shown beneath it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import catalogue
from lrtune.results import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lrtune.results import Finding


def cause_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return the findings ordered: causes by the severity of what they explain, then as the catalogue lists them.

    Each cause is followed by its symptoms, which say so in `follows_from`.
    """
    by_code: dict[str, Finding] = {}
    others: list[Finding] = []  # further findings of a code, such as those of the validation data
    for finding in findings:
        if by_code.setdefault(finding.code, finding) is not finding:
            others.append(finding)
    root_of = {code: _root(code, by_code) for code in by_code}
    groups = [[finding] for code, finding in by_code.items() if root_of[code] == code]
    for group in groups:
        root = group[0].code
        group += [replace(by_code[c], follows_from=root) for c, r in root_of.items() if r == root != c]
    ordered = [finding for group in sorted(groups, key=_rank) for finding in group]
    return [one for finding in ordered for one in (finding, *(o for o in others if o.code == finding.code))]


def _root(code: str, present: dict[str, Finding]) -> str:
    """Return the present code at which the chain of explanations begins."""
    cause = next((one for one in catalogue() if one in present and code in _explained_by(present[one])), None)
    return code if cause is None else _root(cause, present)


def _explained_by(cause: Finding) -> tuple[str, ...]:
    return catalogue()[cause.code].explains if cause.explains is None else cause.explains


def _rank(group: list[Finding]) -> tuple[int, int]:
    worst = max(SEVERITIES.index(finding.severity) for finding in group)
    return -worst, list(catalogue()).index(group[0].code)
