"""Which of very many trials a chart draws from the start; the others join it when they are chosen.

Five hundred curves at once are a grey block that no one reads and that a browser draws for seconds. The page keeps
the rows of the trials left out, and puts them into the chart by the name of its data as soon as one is selected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from lrtune.charts.series import evenly

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.charts.theme import Row

_BEST, _SPREAD = 15, 15

# Rows by trial and by the name of the data that they join.
LaterRows: TypeAlias = "dict[str, dict[str, list[Row]]]"


def first_drawn(ranked: Sequence[str]) -> set[str]:
    """Return the trials to draw at once: all of a few; of many the best, and others spread over the ranks.

    Args:
        ranked: The trials' names, best first.

    >>> len(first_drawn([f"t{i}" for i in range(30)])), len(first_drawn([f"t{i}" for i in range(500)]))
    (30, 30)
    """
    if len(ranked) <= _BEST + _SPREAD:
        return set(ranked)
    rest = ranked[_BEST:]
    return {*ranked[:_BEST], *(rest[place] for place in evenly(len(rest), _SPREAD))}


def crowd_words(drawn: int, all_of_them: int) -> list[str]:
    """Return what a subtitle says where not all trials are drawn.

    >>> crowd_words(30, 500)
    ['30 of 500 trials: the 15 best, and others of all ranks']
    """
    if drawn >= all_of_them:
        return []
    return [f"{drawn} of {all_of_them} trials: the {_BEST} best, and others of all ranks"]
