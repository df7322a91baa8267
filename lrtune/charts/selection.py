"""The one selection that links every chart of trials: by the name of the trial's curve."""

from __future__ import annotations

from typing import Any

import altair as alt

TRIAL = "trial"
# Rules and labels tell of no trial: a click on one is none. In a filter that Vega interprets (as the page's policy
# makes it), `datum` is not defined, so the way to it goes through the event.
_ON_TRIAL_OR_NOTHING = (
    "click[!event.item || event.item.mark.marktype === 'group' || "
    "(event.item.datum && isValid(event.item.datum.curve))]"
)
_AGAIN = f"event.shiftKey || (datum && vlSelectionTest('{TRIAL}_store', datum))"
_NONE_SELECTED = f"!isValid({TRIAL}.curve)"


def trial_selection() -> alt.Parameter:
    """Return the selection: click takes a trial, shift-click adds one, a click on it again lets it go."""
    return alt.selection_point(name=TRIAL, fields=["curve"], on=_ON_TRIAL_OR_NOTHING, toggle=_AGAIN)


def emphasis(selected: float, best: float, usual: float, faint: float) -> Any:
    """Return a condition on the selection for an opacity or a width.

    Args:
        selected: The value of trials that are selected.
        best: The best trial's value while none is selected.
        usual: That of every other trial while none is selected.
        faint: That of the others while one is selected.
    """
    chosen = alt.when(alt.selection_point(name=TRIAL, fields=["curve"]), empty=False).then(
        alt.value(selected)
    )
    quiet = chosen.when(f"{_NONE_SELECTED} && datum.best").then(alt.value(best))
    return quiet.when(_NONE_SELECTED).then(alt.value(usual)).otherwise(alt.value(faint))
