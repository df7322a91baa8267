"""One HTML page that holds everything it needs: data, charts, code and looks. It asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import altair as alt
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from lrtune.charts import pictures, with_best_curve
from lrtune.charts.numbers import number
from lrtune.charts.theme import themed
from lrtune.reports.content import Content, Section, by_step, content
from lrtune.reports.settings import optimizer_of, torch_line, yaml_lines
from lrtune.results import jsonable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.charts.theme import AnyChart
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
    figures = {s.step: _figures(s, by_step(results)) for s in said.sections if s.result}
    specs = {figure["id"]: figure["spec"] for step in figures.values() for figure in step}
    scripts = [Markup(_bundle()), Markup(_resource("page.js"))]
    page: str = _template().render(
        said=said,
        title=title,
        context=context,
        figures=figures,
        copies=_copies(said, context),
        data=Markup(script_json(specs)),
        style=Markup(_resource("page.css")),
        scripts=scripts,
        policy=_policy([str(script) for script in scripts]),
    )
    return page


def script_json(value: Any) -> str:
    r"""Return JSON that is safe inside a script element, whatever strings it holds.

    >>> script_json("</script><!--")
    '"\\u003c/script\\u003e\\u003c!--"'
    """
    return json.dumps(jsonable(value), separators=(",", ":"), allow_nan=False).translate(_UNSAFE)


def _figures(section: Section, results: Mapping[str, StepResult]) -> list[dict[str, Any]]:
    """Return the section's charts: specification, caption and the words for those who cannot see them."""
    if section.result is None:
        return []
    drawn = pictures(with_best_curve(section.result, results.values()))
    if section.step == "report" and not section.result.curves and not section.result.summary.get("best"):
        drawn = {}  # no trial, no curve: the sections above have said so
    return [_figure(f"{section.step}-{name}", name, picture) for name, picture in drawn.items()]


def _figure(identity: str, name: str, picture: AnyChart) -> dict[str, Any]:
    fitted = picture.properties(
        width="container", autosize=alt.AutoSizeParams(type="fit-x", contains="padding")
    )
    spec = themed(fitted).to_dict()
    heading = spec.pop("title", {})  # set by the page, where it can wrap
    spec["config"]["padding"] = 2
    return {
        "id": identity,
        "name": name,
        "spec": spec,
        "title": heading.get("text", name),
        "subtitle": " ".join(heading.get("subtitle", [])),
        "height": spec.get("height", 0),
    }


def _copies(said: Content, context: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return (label, text) of what is there to be pasted."""
    if not said.best:
        return []
    optimizer = optimizer_of(context)
    return [("YAML", yaml_lines(said.best, optimizer)), ("PyTorch", torch_line(said.best, optimizer))]


@cache
def _bundle() -> str:
    """Return Vega, Vega-Lite and vega-embed as one script; building it takes a second."""
    import vl_convert

    code = vl_convert.javascript_bundle(snippet="window.vegaEmbed=vegaEmbed;")
    return f"(()=>{{{code}}})();"


def _resource(name: str) -> str:
    return resources.files("lrtune.reports").joinpath(name).read_text(encoding="utf-8")


@cache
def _template() -> Any:
    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.filters["number"] = number
    environment.filters["sentence"] = lambda text: f"{text[:1].upper()}{text[1:]}"
    return environment.from_string(_resource("page.html.jinja"))


def _policy(scripts: list[str]) -> str:
    """Return a content security policy: these very scripts may run, and nothing may be loaded from anywhere."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
