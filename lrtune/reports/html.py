"""One HTML page that holds everything it needs: data, charts, code and looks. It asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import altair as alt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape

from lrtune.charts import later_rows, pictures
from lrtune.charts.numbers import number
from lrtune.charts.theme import themed
from lrtune.reports.content import Content, Section, content
from lrtune.reports.settings import optimizer_of, torch_line, yaml_lines
from lrtune.results import jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.charts.crowd import LaterRows
    from lrtune.charts.theme import AnyChart, Row
    from lrtune.results import StepResult

# What could end a script element or a comment, and what old parsers take for the end of a line.
_UNSAFE = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def render(results: Mapping[str, StepResult], title: str, context: Mapping[str, Any]) -> str:
    """Return the page.

    Args:
        results: What the steps returned, by step; those missing are said not to have been run.
        title: The heading, such as the task's name.
        context: `version`, `command`, `device`, `seed`, `created`, `config_yaml`, `optimizer` (`name` and
            keywords), `task`, `stale` and `missing` (steps); any of them may be absent.

    Returns:
        A complete HTML document of about a megabyte plus the data.
    """
    said = content(results, context)
    figures = {s.step: _figures(s) for s in said.sections if s.result}
    return page_of(
        "page.html.jinja",
        [figure for step in figures.values() for figure in step],
        said=said,
        title=title,
        context=context,
        figures=figures,
        crowded={step for step, drawn in figures.items() if any(figure["later"] for figure in drawn)},
        copies=_copies(said, context),
    )


def page_of(name: str, drawn: Sequence[Mapping[str, Any]], /, **words: Any) -> str:
    """Return a page of charts: its template filled, with data, style, scripts and the policy that allows these alone.

    Args:
        name: Of the template.
        drawn: All charts of the page, as `figure_of` returns them.
        words: Whatever else the template names.
    """
    scripts = [Markup(_bundle()), Markup(_resource("page.js"))]
    page: str = template(name).render(
        data=Markup(script_json({figure["id"]: figure["spec"] for figure in drawn})),
        later=Markup(script_json({figure["id"]: figure["later"] for figure in drawn if figure["later"]})),
        style=Markup(_resource("page.css")),
        scripts=scripts,
        policy=_policy([str(script) for script in scripts]),
        **words,
    )
    return page


def script_json(value: Any) -> str:
    r"""Return JSON that is safe inside a script element, whatever strings it holds.

    >>> script_json("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    return json.dumps(jsonable(value), separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def _figures(section: Section) -> list[dict[str, Any]]:
    """Return the section's charts: specification, caption and the words for those who cannot see them."""
    result = section.result
    if result is None or (section.step == "report" and not result.curves and not result.summary.get("best")):
        return []  # no trial, no curve: the sections above have said so
    later = later_rows(result)
    return [
        figure_of(f"{section.step}-{name}", name, picture, later.get(name, {}))
        for name, picture in pictures(result).items()
    ]


def figure_of(identity: str, name: str, picture: AnyChart, later: LaterRows | None = None) -> dict[str, Any]:
    """Return what a page needs of a chart.

    Args:
        identity: Unique within the page.
        name: Of the kind of chart.
        picture: The chart.
        later: Rows that join it when their trial is chosen.
    """
    fitted = picture.properties(
        width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec = themed(fitted).to_dict(validate=False)  # the tests validate; here every row would be checked
    heading = spec.pop("title", {})  # set by the page, where it can wrap
    spec["config"]["padding"] = 2
    return {
        "id": identity,
        "name": name,
        "spec": spec,
        "title": heading.get("text", name),
        "subtitle": " ".join(heading.get("subtitle", [])),
        "height": spec.get("height", 0),
        "later": {
            trial: {data: _columns(rows) for data, rows in parts.items()}
            for trial, parts in (later or {}).items()
        },
    }


def _columns(rows: list[Row]) -> dict[str, Any]:
    """Return rows of equal keys as columns, one that never changes as its value alone: a quarter of the bytes."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    return {
        key: values[0] if all(value == values[0] for value in values) else values
        for key, values in columns.items()
    } | {"rows": len(rows)}


def _copies(said: Content, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, text) of what is there to be pasted."""
    if not said.best:
        return []
    optimizer = optimizer_of(context)
    forms = (("YAML", yaml_lines), ("PyTorch", torch_line))
    return [(name, lines(said.best, optimizer, said.places)) for name, lines in forms]


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script; building it takes a second."""
    import vl_convert

    code = vl_convert.javascript_bundle(snippet="window.vegaEmbed=vegaEmbed;")
    return f"(()=>{{{code}}})();"


def _resource(name: str) -> str:
    return resources.files("lrtune.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def template(name: str) -> Any:
    """Return a template of this folder; whatever it is given is escaped."""
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["number"] = number
    environment.filters["breakable"] = breakable
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:]}"
    return environment.from_string(_resource(name))


def breakable(text: str) -> Markup:
    """Return text for a page that may break after the marks within names and paths, so that no word has to.

    >>> breakable("args.a<b")
    Markup('args.<wbr>a&lt;b')
    """
    return Markup(re.sub(r"([._/:\\]+)(?=[^\s\d._/:\\])", r"\1<wbr>", str(escape(text))))


def _policy(scripts: list[str]) -> str:
    """Return a content security policy: these very scripts may run, and nothing may be loaded from anywhere."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
