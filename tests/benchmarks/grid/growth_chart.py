"""The chart of how cost grows: seconds and memory by size, a line a peer."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

import altair as alt

from lrtune.charts.save import save

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.grid.measure import Measured

_AXES = {"members": "members of the grid", "examples": "training examples"}


def growth_data(
    found: Mapping[str, Sequence[Sequence[Measured]]], sizes: Sequence[int]
) -> list[dict[str, Any]]:
    """Return a row a peer and size: medians of the rounds, and their range in seconds; none where it has a problem."""
    rows = []
    for peer, by_size in found.items():
        for size, runs in zip(sizes, by_size, strict=True):
            if not runs or any(run.problem for run in runs):
                continue
            seconds = [run.seconds for run in runs]
            rows.append(
                {
                    "peer": peer,
                    "size": size,
                    "seconds": statistics.median(seconds),
                    "least": min(seconds),
                    "most": max(seconds),
                    "mebibytes": statistics.median(run.added_mebibytes for run in runs),
                }
            )
    return rows


def draw_growth(rows: Sequence[Mapping[str, Any]], workload: str, axis: str) -> alt.TopLevelMixin:
    """Return the rows as a chart: seconds above, memory below, over one logarithmic axis of sizes."""
    base = alt.Chart(alt.Data(values=list(rows))).properties(width=460, height=240)
    sizes = sorted({row["size"] for row in rows})
    x = alt.X("size:Q", title=_AXES[axis], axis=alt.Axis(values=sizes)).scale(type="log", base=2)
    peer = alt.Color("peer:N", title=None)
    line = base.mark_line(point=True).encode(
        x=x, y=alt.Y("seconds:Q", title="seconds").scale(type="log"), color=peer
    )
    bars = base.mark_rule().encode(x=x, y="least:Q", y2="most:Q", color=peer)
    memory = base.mark_line(point=True).encode(
        x=x, y=alt.Y("mebibytes:Q", title="MiB added to its process (not to workers')"), color=peer
    )
    title = f"{workload}: cost by {_AXES[axis]}"
    return alt.vconcat(line + bars, memory, title=title)


def save_growth(
    found: Mapping[str, Sequence[Sequence[Measured]]],
    sizes: Sequence[int],
    workload: str,
    axis: str,
    path: Path,
) -> None:
    """Write the chart, as the suffix says: .png, .svg, .html or .json."""
    save(draw_growth(growth_data(found, sizes), workload, axis), path)
