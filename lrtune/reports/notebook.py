"""A result as a notebook shows it: a fragment of HTML that needs nothing else, not even scripts.

A notebook's theme is not the system's: colours are either inherited or translucent, so that they suit both grounds.
Pictures are images of their own, since what stands within one notebook page shares its names.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from lrtune.charts import PICTURES, pictures, with_best_curve
from lrtune.charts.save import png_of, svg_of
from lrtune.charts.theme import themed
from lrtune.reports.content import TITLES, VERDICT_WORDS
from lrtune.reports.html import template
from lrtune.reports.tables import facts, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.charts.theme import AnyChart
    from lrtune.results import StepResult

_MOST_TRIALS = 10
_MOST_MARKS = (
    800  # rows of a chart that stays an SVG file; a crowded one is smaller, and drawn faster, as PNG
)
_COLOURS = {"fail": "#d4513a", "warn": "#c76a0b", "pass": "#118a68"}  # legible on white and on near-black


def render(result: StepResult) -> str:
    """Return the fragment: verdict, findings with what to do, numbers, trials and charts.

    Args:
        result: Of a step, or of a whole run, which has one part a step.
    """
    parts = result.steps or [result]
    page: str = template("notebook.html.jinja").render(
        steps=[_part(step, parts) for step in parts], folded=len(parts) > 1
    )
    return page


def _part(result: StepResult, among: Sequence[StepResult]) -> dict[str, Any]:
    lines = table(result)
    return {
        "title": TITLES.get(result.step, result.step),
        "verdict": VERDICT_WORDS[result.verdict],
        "colour": _COLOURS[result.verdict],
        "findings": result.findings,
        "facts": facts(result),
        "columns": lines.columns,
        "lines": lines.lines[:_MOST_TRIALS],
        "left": max(0, len(lines.lines) - _MOST_TRIALS),
        "images": _images(with_best_curve(result, among)),
        "open": result.verdict != "pass",
    }


def _images(result: StepResult) -> list[tuple[str, str]]:
    """Return (address, words) of each chart; none for a report that found nothing."""
    if result.step == "report" and not result.summary.get("best"):
        return []
    drawn = (picture for picture in PICTURES if result.step in picture.steps)
    crowded = {picture.name: len(picture.data(result)) > _MOST_MARKS for picture in drawn}
    return [
        (_address(picture, crowded[name]), str(picture.description))
        for name, picture in pictures(result).items()
    ]


def _address(picture: AnyChart, crowded: bool) -> str:
    chart = themed(picture)
    kind, data = ("png", png_of(chart)) if crowded else ("svg+xml", svg_of(chart))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
