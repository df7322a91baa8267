"""Charts as files: pictures, a page that works offline, or the specification."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import altair as alt

_PNG_SCALE = 2.0  # sharp on a screen with two physical pixels a logical one


def save(chart: alt.TopLevelMixin, path: str | Path) -> Path:
    """Write a chart to `path`, in the format that its suffix names.

    Args:
        chart: Any chart, as `lrtune.chart` returns it.
        path: Where to; `.png`, `.svg`, `.html` (self-contained, interactive) or `.json` (Vega-Lite).

    Returns:
        The path written.

    Raises:
        ValueError: If the suffix is none of these.
    """
    target = Path(path)
    write = _WRITERS.get(target.suffix.lower())
    if write is None:
        raise ValueError(f"expected a path ending in one of {', '.join(_WRITERS)}, got {target.name!r}")
    target.write_bytes(write(chart))
    return target


def png_of(chart: alt.TopLevelMixin) -> bytes:
    """Return a chart as a PNG file, on white."""
    import vl_convert  # takes a tenth of a second and is not needed to make a chart

    spec = chart.to_dict(validate=False)  # the tests validate; here every row would be checked
    # On a transparent ground vl-convert 1.9 stores half-transparent marks too dark, so pictures get a white one.
    spec["config"] = {**spec.get("config", {}), "background": "white"}
    return bytes(vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE))


def svg_of(chart: alt.TopLevelMixin) -> bytes:
    """Return a chart as an SVG file, on a transparent ground."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(chart.to_dict(validate=False))).encode()


def _html(chart: alt.TopLevelMixin) -> bytes:
    return str(chart.to_html(inline=True)).encode()


def _json(chart: alt.TopLevelMixin) -> bytes:
    return json.dumps(chart.to_dict(), indent=1, allow_nan=False).encode()


_WRITERS: dict[str, Callable[[alt.TopLevelMixin], bytes]] = {
    ".png": png_of,
    ".svg": svg_of,
    ".html": _html,
    ".json": _json,
}

SUFFIXES = tuple(_WRITERS)
