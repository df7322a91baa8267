"""What is drawn over the curves of a sweep: rules at the rates found, and the trainings at one rate each."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import altair as alt

from lrtune.charts.labels import GAP, ROW, places
from lrtune.charts.numbers import number
from lrtune.charts.probed import DIVERGED
from lrtune.charts.theme import GREEN, MUTED, ORANGE, RED, base
from lrtune.charts.trials import COMPLETE

if TYPE_CHECKING:
    from lrtune.charts.theme import Row


class _Look(NamedTuple):
    words: str
    colour: str
    dash: list[int]
    width: float
    weight: Literal[400, 600]


_LOOKS = {
    "suggestion": _Look("suggested {}", GREEN, [1, 0], 2, 600),
    "stable": _Look("stable up to {}", MUTED, [2, 3], 1.5, 400),
    "diverged": _Look("diverged at {}", RED, [5, 4], 2, 600),
}


def label_of(row: Row) -> str | None:
    """Return what is written at the rule of a row, None where the row is no rule."""
    look = _LOOKS.get(row["kind"])
    return look.words.format(number(row["learning_rate"])) if look else None


def drawn_rules(rows: list[Row], x: alt.X, low: float, high: float, height: int) -> list[alt.Chart]:
    """Draw a rule with a label for each rate that was found.

    Args:
        rows: Of the sweep.
        x: The horizontal axis, which spans `low` to `high`.
        low: The lowest rate.
        high: The highest.
        height: Of the plot, in pixels.
    """
    found = [(row, label) for row in rows if (label := label_of(row))]
    shares = [_share(row["learning_rate"], low, high) for row, _ in found]
    layers: list[alt.Chart] = []
    for (row, label), place in zip(found, places(shares, [label for _, label in found]), strict=True):
        look = _LOOKS[row["kind"]]
        middle = ROW * place.row + ROW // 2
        mark = base([{"learning_rate": row["learning_rate"], "label": label}])
        rule = mark.mark_rule(color=look.colour, strokeWidth=look.width, strokeDash=look.dash)
        align: Literal["left", "right"] = "left" if place.side > 0 else "right"
        text = mark.mark_text(fontWeight=look.weight, align=align, baseline="middle", dx=GAP * place.side)
        layers += [
            rule.encode(x=x, y=alt.value(middle - ROW // 2 + 2), y2=alt.value(height)),
            text.encode(x=x, y=alt.value(middle), text="label:N"),
        ]
    return layers


def _share(rate: float, low: float, high: float) -> float:
    return math.log(rate / low) / math.log(high / low) if high > low else 0.5


def drawn_probes(rows: list[Row], x: alt.X, y: alt.Y, high: float, top: int) -> list[alt.Chart]:
    """Draw the trainings at one rate each: filled where complete, hollow where stopped, a cross where diverged.

    Args:
        rows: Of the sweep.
        x: The horizontal axis.
        y: The vertical axis, of the field `shown`.
        high: The largest loss that it shows; a larger one is a triangle at the upper edge.
        top: Where that edge is, in pixels.
    """
    probes = [row for row in rows if row["kind"] == "probe"]
    shown = [{**row, "shown": row["loss"]} for row in probes if row["loss"] is not None]
    within = [row for row in shown if row["loss"] <= high]
    above = [row for row in shown if row["loss"] > high]
    lost = [row for row in probes if row["state"] == DIVERGED]
    edge, tooltip = alt.value(top), _tooltip()
    full = [row for row in within if row["state"] == COMPLETE]
    hollow = [row for row in within if row["state"] != COMPLETE]
    size, colour = 64, ORANGE
    layers = [
        (full, base(full).mark_point(filled=True, size=size, color=colour, opacity=1).encode(y=y)),
        (
            hollow,
            base(hollow)
            .mark_point(filled=False, size=size, color=colour, strokeWidth=2, opacity=1)
            .encode(y=y),
        ),
        (
            above,
            base(above).mark_point(filled=True, size=size, color=colour, shape="triangle-up").encode(y=edge),
        ),
        (lost, base(lost).mark_text(text="×", fontSize=18, fontWeight="bold", color=RED).encode(y=edge)),
    ]
    return [layer.encode(x=x, tooltip=tooltip) for there, layer in layers if there]


def probe_words(rows: list[Row]) -> list[str]:
    """Return what the marks of the trainings at one rate mean, those that are there."""
    probes = [row for row in rows if row["kind"] == "probe"]
    measured = {row["state"] for row in probes if row["loss"] is not None}
    words = [f"points: {row['words']}" for row in rows if row["kind"] == "probes" and measured]
    words += ["hollow: stopped earlier"] if measured - {COMPLETE} else []
    # A space that does not break keeps a sign with its word.
    return words + (["×\u00a0diverged"] if any(row["state"] == DIVERGED for row in probes) else [])


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("learning_rate:Q", title="learning rate", format=".3~g"),
        alt.Tooltip("loss:Q", format=".4~g"),
        alt.Tooltip("steps:Q", format=",d"),
        alt.Tooltip("state:N"),
    ]
