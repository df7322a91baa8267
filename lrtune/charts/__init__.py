"""Every picture of a result: rows first, then the drawing of them.

`PICTURES` is the whole list; a new chart is one file and one line there.
"""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import altair as alt
from altair.utils.schemapi import debug_mode

from lrtune.charts.epochs import draw_epochs, epochs_data, epochs_later
from lrtune.charts.heat_map import draw_heat_map, heat_map_data
from lrtune.charts.initial_loss import draw_initial_loss, initial_loss_data
from lrtune.charts.loss_curves import draw_loss_curves, loss_curves_data, loss_curves_later
from lrtune.charts.overfit import draw_overfit, overfit_data
from lrtune.charts.save import save
from lrtune.charts.sweep import draw_sweep, sweep_data
from lrtune.charts.theme import AnyChart, Row, nothing_to_draw, themed, unnamed
from lrtune.charts.trial_scatter import draw_trial_scatter, trial_scatter_data
from lrtune.charts.trials import curve_of
from lrtune.results import WHOLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lrtune.charts.crowd import LaterRows
    from lrtune.results import StepResult

__all__ = ["PICTURES", "Picture", "chart", "later_rows", "pictures", "save", "with_best_curve"]


class Picture(NamedTuple):
    """One chart: which steps it belongs to, what it shows and how it is drawn."""

    name: str
    steps: tuple[str, ...]
    data: Callable[[StepResult], list[Row]]
    draw: Callable[[list[Row]], AnyChart]
    later: Callable[[StepResult], LaterRows] = lambda result: {}  # rows of trials that are not drawn at once


_TRAINED = ("coarse-grid", "refine-grid", "report")

PICTURES = (
    Picture("initial-loss", ("check-init",), initial_loss_data, draw_initial_loss),
    Picture("overfit", ("overfit",), overfit_data, draw_overfit),
    Picture("sweep", ("find-lr",), sweep_data, draw_sweep),
    Picture("heat-map", ("coarse-grid",), heat_map_data, draw_heat_map),
    Picture("trial-scatter", ("refine-grid",), trial_scatter_data, draw_trial_scatter),
    Picture("epochs", _TRAINED, epochs_data, draw_epochs, epochs_later),
    Picture("loss-curves", _TRAINED, loss_curves_data, draw_loss_curves, loss_curves_later),
)


# Shared, a scale would put one chart's legend above all of them.
_INDEPENDENT: Any = {"color": "independent", "strokeDash": "independent"}


def pictures(result: StepResult) -> dict[str, AnyChart]:
    """Return the charts of one step by name, without the look that `chart` gives them."""
    # Altair would check every row again at every step of building: 16 s instead of 1 s for a hundred long curves.
    with debug_mode(False):
        return _drawn(result)


def _drawn(result: StepResult) -> dict[str, AnyChart]:
    return {p.name: p.draw(p.data(result)) for p in PICTURES if result.step in p.steps}


def later_rows(result: StepResult) -> dict[str, LaterRows]:
    """Return the rows of the trials that the charts of one step leave out at first, by the chart's name."""
    return {p.name: rows for p in PICTURES if result.step in p.steps and (rows := p.later(result))}


def chart(result: StepResult) -> alt.TopLevelMixin:
    """Draw a step's result; of a whole run, everything, one below the other.

    Args:
        result: What a step or `run` returned.

    Returns:
        An altair chart, which a notebook displays and `save` writes to a file.
    """
    results = result.steps if result.step in WHOLES else [result]
    drawn = [picture for step in results for picture in pictures(with_best_curve(step, results)).values()]
    drawn = drawn or [nothing_to_draw(result.step, "This step has no chart.")]
    return themed(drawn[0] if len(drawn) == 1 else _stacked(drawn))


def _stacked(drawn: list[AnyChart]) -> alt.VConcatChart:
    with warnings.catch_warnings():
        # The charts share one selection on purpose; altair 6 asks whether that was meant.
        warnings.filterwarnings("ignore", "Automatically deduplicated selection", UserWarning)
        return alt.vconcat(*map(unnamed, drawn), spacing=28, resolve=alt.Resolve(scale=_INDEPENDENT))


def with_best_curve(report: StepResult, results: Iterable[StepResult]) -> StepResult:
    """Return a report's result with the best trial's curve, which the grid that trained it holds.

    A result that has curves already, and that of any other step, is returned as it is.
    """
    best = report.summary.get("best")
    if report.step != "report" or report.curves or not best:
        return report
    name = curve_of(best)
    found = next((result.curves[name] for result in results if name in result.curves), None)
    return replace(report, curves={name: found}) if found else report
