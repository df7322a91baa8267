"""One look for every chart: transparent, mid-grey text, colours that colour-blind readers tell apart.

The greys reach a contrast of about 4:1 on white as well as on a near-black page; the hues are from Okabe and
Ito's palette (https://jfly.uni-koeln.de/color/), shifted to a middle lightness for the same reason. The page
replaces the greys by its own, which is why most texts in a chart carry no colour of their own.
"""

from __future__ import annotations

from textwrap import wrap
from typing import Any, TypeAlias

import altair as alt

AnyChart: TypeAlias = alt.Chart | alt.LayerChart
Row: TypeAlias = dict[str, Any]

TEXT = "#7b818a"
GRID = "rgba(128, 134, 144, 0.18)"
MUTED = "#8b919a"
BLUE = "#2f83c5"
ORANGE = "#dd7a11"
GREEN = "#0f9d76"
RED = "#d4513a"
FONT = "'Helvetica Neue', Helvetica, Arial, sans-serif"

WIDTH = 620
HEIGHT = 280
_LINE = 100  # letters of a subtitle that fit above a chart of that width

# The ends of viridis vanish on a white or on a black page: lines use its middle.
LINE_COLOURS: dict[str, Any] = {"name": "viridis", "extent": [0.22, 0.88]}
# Cells have an outline and may use nearly all of it; reversed, because a low loss should shine.
CELL_COLOURS: dict[str, Any] = {"name": "viridis", "extent": [0.06, 1.0]}

CONFIG: dict[str, Any] = {
    "background": "transparent",
    "font": FONT,
    "padding": 6,
    "view": {"stroke": None, "continuousWidth": WIDTH, "continuousHeight": HEIGHT, "discreteWidth": WIDTH},
    "axis": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "gridColor": GRID,
        "domainColor": GRID,
        "tickColor": GRID,
        "labelFontSize": 11,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
        "titlePadding": 8,
        "labelPadding": 4,
        "labelOverlap": "greedy",
        "labelSeparation": 6,
        "tickSize": 4,
    },
    "legend": {
        "labelColor": TEXT,
        "titleColor": TEXT,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
        "orient": "top",
        "direction": "horizontal",
        "gradientLength": 160,
        "gradientThickness": 8,
        "symbolStrokeWidth": 2.5,
        "symbolOpacity": 1,
        "offset": 6,
        "columnPadding": 12,
    },
    "title": {
        "color": TEXT,
        "subtitleColor": TEXT,
        "fontSize": 14,
        "fontWeight": 600,
        "subtitleFontSize": 12,
        "subtitlePadding": 4,
        "anchor": "start",
        "frame": "group",
        "offset": 10,
    },
    "text": {"color": TEXT, "fontSize": 11},
}


def themed(chart: alt.TopLevelMixin) -> alt.TopLevelMixin:
    """Return a top-level chart with the look set; charts inside a concatenation must not carry one."""
    looking: alt.TopLevelMixin = chart.configure(**CONFIG)
    return looking


def overlaid(*layers: alt.Chart) -> alt.LayerChart:
    """Return the layers as one chart, the first at the back."""
    return alt.LayerChart(layer=list(layers))


def base(rows: list[Row], name: str | None = None) -> alt.Chart:
    """Return a chart without a mark over `rows`, which travel inside it; by `name` a page can add to them."""
    return alt.Chart(alt.InlineData(values=rows, name=name) if name else alt.InlineData(values=rows))


def unnamed(chart: AnyChart) -> AnyChart:
    """Return the chart with its data nameless: within one picture, data of one name are the same data."""
    copied = chart.copy()
    for part in (copied, *getattr(copied, "layer", [])):
        if isinstance(part.data, alt.InlineData):
            part.data = alt.InlineData(values=part.data.values)
    return copied


def titled(chart: AnyChart, title: str, subtitle: str = "", height: int = HEIGHT) -> AnyChart:
    """Return the chart with a heading; the title is also what a screen reader says of it."""
    lines = wrap(subtitle, _LINE, break_long_words=False)
    heading = alt.TitleParams(text=title, subtitle=lines) if lines else alt.TitleParams(text=title)
    spoken = f"{title}. {subtitle}" if subtitle else title
    return chart.properties(title=heading, height=height, description=spoken)


def nothing_to_draw(title: str, reason: str) -> AnyChart:
    """Return a small chart that says in words why there is no picture."""
    text = alt.Chart(alt.InlineData(values=[{"reason": reason}])).mark_text(fontSize=12)
    return titled(text.encode(text="reason:N"), title, height=40)
