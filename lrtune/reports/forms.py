"""The report in other forms than the page: Markdown, and every chart as a picture in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.charts import pictures, save
from lrtune.charts.theme import themed
from lrtune.reports import html, markdown
from lrtune.reports.content import by_step, in_order
from lrtune.reports.files import page_context, title_of
from lrtune.results import STEPS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from lrtune.results import StepResult


def _page(results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    return html.render(results, title_of(context), page_context(context))


def _markdown(results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    return markdown.render(results, title_of(context), page_context(context))


# A new form that is one text: one function above, one line here.
TEXTS: Mapping[str, Callable[[Mapping[str, StepResult], Mapping[str, Any]], str]] = {
    "html": _page,
    "md": _markdown,
}


def write_pictures(results: Mapping[str, StepResult], folder: Path, suffix: str) -> list[Path]:
    """Write every chart of every step into a folder, such as `4-coarse-grid-heat-map.png`.

    Args:
        results: By step.
        folder: Made when it is not there.
        suffix: `png` or `svg`.

    Returns:
        The files, in the recipe's order.

    Raises:
        OSError: If one cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for step, result in in_order(by_step(results)).items():
        for name, picture in pictures(result).items():
            path = folder / f"{STEPS.index(step) + 1}-{step}-{name}.{suffix}"
            written.append(save(themed(picture), path))
    return written
