"""The table of a grid's trials, fitted to the terminal: columns of less importance go before a number is cut."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.text import Text

from lrtune.cli.blocks import columns, number, terminal_width
from lrtune.results import further_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

_SHOWN_TRIALS = 10
_SHOWN_METRICS = 3
_GAP = 2  # columns of the terminal after each of the table
_AXIS, _METRIC = "axis ", "metric "  # before the key of such a column


@dataclass(frozen=True)
class _Column:
    """One column: what it is, its head in one or two lines, and a text for each trial."""

    key: str
    head: str
    cells: tuple[str, ...]

    def wide(self) -> int:
        """Return how many columns of the terminal it takes."""
        return max(len(text) for text in (*self.head.splitlines(), *self.cells))


def trial_blocks(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> list[Any]:
    """Return the blocks of a grid's text: the first trials, the chosen one, and what found no room.

    Args:
        trials: The rows of a grid's summary, the lowest loss first.
        best: The one that was chosen; it is shown wherever it stands.
    """
    shown = [*trials[:_SHOWN_TRIALS], *(trial for trial in trials[_SHOWN_TRIALS:] if trial == best)]
    if not shown:
        return []
    width = terminal_width()
    every = _columns_of(shown, best)
    fitting = _fitting(every, width)
    if fitting is None:
        blocks: list[Any] = [Text(_in_words(every, at)) for at in range(len(shown))]
    else:
        blocks = [_table(fitting), *_told_below(every, fitting)]
    more = len(trials) - len(shown)
    return [*blocks, Text(f"and {more} more, see the report", style="dim")] if more > 0 else blocks


def _columns_of(trials: Sequence[Mapping[str, Any]], best: Mapping[str, Any] | None) -> list[_Column]:
    metrics = list(dict.fromkeys(name for trial in trials for name in trial["metrics"]))[:_SHOWN_METRICS]
    axes = further_axes(trials)
    told = {
        "lr": [number(trial["lr"], 3) for trial in trials],
        "weight decay": [number(trial["weight_decay"], 3) for trial in trials],
        **{f"{_AXIS}{axis}": [_value(trial.get(axis)) for trial in trials] for axis in axes},
        "val loss": [number(trial["val_loss"]) for trial in trials],
        "train loss": [number(trial["train_loss"]) for trial in trials],
        **{f"{_METRIC}{name}": [number(trial["metrics"].get(name)) for trial in trials] for name in metrics},
        "state": [_state(trial, best) for trial in trials],
    }
    return [_Column(key, _head(key), tuple(cells)) for key, cells in told.items()]


def _head(key: str) -> str:
    if key.startswith(_AXIS):
        return key.removeprefix(_AXIS).rpartition(".")[2].replace("_", " ")
    return key.removeprefix(_METRIC)


def _state(trial: Mapping[str, Any], best: Mapping[str, Any] | None) -> str:
    ended = "" if trial["state"] == "complete" else str(trial["state"])
    return " ".join(filter(None, ("best" if trial == best else "", ended)))


def _value(value: Any) -> str:
    """A value of a further axis: a number, or whatever a task or an optimizer takes."""
    return number(value, 3) if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


# --- what there is room for -----------------------------------------------------------------------------------


def _fitting(every: list[_Column], width: int) -> list[_Column] | None:
    """Return the columns that there is room for; None where not even rate, decay, loss and state fit.

    First heads of two words take two lines; then the training loss goes, the metrics from the last, and the axes,
    whose values are told below the table.
    """
    if _width(every) <= width:
        return every
    narrow = [_Column(one.key, one.head.replace(" ", "\n", 1), one.cells) for one in every]
    spare = ["train loss", *_keys(narrow, _METRIC)[::-1], *_keys(narrow, _AXIS)[::-1]]
    for count in range(len(spare) + 1):
        left = [one for one in narrow if one.key not in spare[:count]]
        if any(key.startswith(_AXIS) for key in spare[:count]):
            places = tuple(str(at + 1) for at in range(len(every[0].cells)))
            left = [_Column("#", "#", places), *left]
        if _width(left) <= width:
            return left
    return None


def _keys(every: Sequence[_Column], kind: str) -> list[str]:
    return [one.key for one in every if one.key.startswith(kind)]


def _width(every: Sequence[_Column]) -> int:
    return sum(one.wide() for one in every) + _GAP * len(every)


def _table(every: Sequence[_Column]) -> Table:
    rows = [[one.cells[at] for one in every] for at in range(len(every[0].cells))]
    return columns([one.head for one in every], rows, left=("state",))


def _told_below(every: Sequence[_Column], fitting: Sequence[_Column]) -> list[Text]:
    """Return the axes that found no room, a line a trial, and the names of the other columns that found none."""
    kept = {one.key for one in fitting}
    folded = [one for one in every if one.key not in kept]
    axes = [one for one in folded if one.key.startswith(_AXIS)]
    lines = [
        Text(f"{at + 1}: " + ", ".join(f"{one.head} {one.cells[at]}" for one in axes))
        for at in range(len(every[0].cells))
        if axes
    ]
    others = [one.head for one in folded if one not in axes]
    hint = [Text(f"no room for {', '.join(others)}: see the report", style="dim")] if others else []
    return [*lines, *hint]


def _in_words(every: Sequence[_Column], at: int) -> str:
    """Return a trial as a sentence, which wraps between words: for a terminal that no table fits."""
    *told, state = every
    words = ", ".join(f"{one.head} {one.cells[at]}" for one in told)
    return f"{words}, {state.cells[at]}" if state.cells[at] else words
