"""The comparison of two runs as a page and as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.charts.numbers import MISSING, number
from lrtune.charts.overlay import overlay_data, overlays
from lrtune.charts.series import evenly
from lrtune.reports.content import in_order
from lrtune.reports.html import figure_of, page_of
from lrtune.reports.markdown import escaped, table_of
from lrtune.reports.tables import Line, Table
from lrtune.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.reports.compare import Change, Comparison, FindingChange, Run
    from lrtune.results import StepResult

_MOST_LINES = 31  # of a chart's numbers
_SPLITS = ("train", "validation")


def compared_html(comparison: Comparison, runs: Sequence[Run]) -> str:
    """Return one self-contained page, with the curves of both runs in the same pictures.

    Args:
        comparison: What `lrtune.reports.compare.compare` returned.
        runs: What it was given, for the curves.
    """
    named = [(run.name, in_order(run.results)) for run in runs]
    figures = [
        {**figure_of(f"compare-{name}", name, picture), "table": _numbers(named, name)}
        for name, picture in overlays(named).items()
    ]
    return page_of(
        "compare.html.jinja",
        figures,
        comparison=comparison,
        figures=figures,
        tables=tables(comparison),
        version=__version__,
    )


def _numbers(runs: Sequence[tuple[str, Mapping[str, StepResult]]], name: str) -> Table:
    """Return a chart's numbers: a line a place on its horizontal axis, a column a run and split."""
    rows = overlay_data(runs, name)
    heads = [(label, split) for label, _ in runs for split in (*_SPLITS, None)]
    heads = [head for head in heads if any((row["run"], row.get("split")) == head for row in rows)]
    found = {(row["run"], row.get("split"), row["x"]): row["loss"] for row in rows}
    places = sorted({row["x"] for row in rows})
    chosen = [places[i] for i in evenly(len(places), _MOST_LINES)]
    lines: list[Line] = []
    for x in chosen:
        losses: list[Any] = [found.get((*head, x)) for head in heads]
        cells = [MISSING if loss is None else number(loss, 4) for loss in losses]
        lines.append(Line([number(x), *cells], ""))
    return Table(["", *(" ".join(filter(None, head)) for head in heads)], lines)


def compared_markdown(comparison: Comparison) -> str:
    """Return the same as GitHub-flavoured Markdown, without the curves."""
    blocks = [f"# {escaped(comparison.a)} against {escaped(comparison.b)}"]
    for title, columns, rows in tables(comparison):
        cells = [[escaped(cell) for cell in row] for row in rows]
        heads = [escaped(column) for column in columns]
        blocks += [f"## {title}", table_of(heads, cells) if rows else "None."]
    return "\n\n".join(blocks) + "\n"


def tables(comparison: Comparison) -> list[tuple[str, list[str], list[list[str]]]]:
    """Return (title, columns, rows) of everything there is to say."""
    names = [comparison.a, comparison.b]
    verdicts = [[one.name, one.a or "not run", one.b or "not run"] for one in comparison.verdicts]
    stayed = [_both(one) for one in comparison.findings if one.state == "stayed"]
    numbers = [[step, *_row(change)] for step, change in comparison.numbers]
    return [
        ("Answer", ["", *names], [_row(change) for change in comparison.answer_lines]),
        ("Findings that appeared or vanished", ["", "finding", "step", "what it says"], _news(comparison)),
        ("Settings that changed", ["setting", *names], [_row(change) for change in comparison.settings]),
        ("Verdicts", ["step", *names], verdicts),
        ("Numbers that changed", ["step", "number", *names], numbers),
        ("Findings in both", ["finding", "step", *names], stayed),
    ]


def _row(change: Change) -> list[str]:
    return [change.name, *change.texts]


def _news(comparison: Comparison) -> list[list[str]]:
    return [[one.state, one.code, one.step, one.b or one.a or ""] for one in comparison.news]


def _both(one: FindingChange) -> list[str]:
    return [one.code, one.step, one.a or "", one.b or ""]
