"""Where the labels of upright rules go, so that none covers another."""

from __future__ import annotations

from itertools import permutations, product
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

ROW = 16  # pixels of height a label
GAP = 6  # between a rule and its label
_WIDTH = 560  # of the plot inside a chart of the usual width
_LETTER = 6.6  # wide: at 11 pixels, bold, the labels measured 5.2 to 5.8 in a PNG; a page's font may be wider
_OUTSIDE, _CROSSED, _AWAY, _ORDER = 100.0, 10.0, 1.0, 0.01  # costs: in this order of weight


class Place(NamedTuple):
    """A label's place: the row from above, and the side of its rule, 1 for right and -1 for left."""

    row: int
    side: int


def places(shares: Sequence[float], texts: Sequence[str]) -> list[Place]:
    """Return where to write each rule's label: a row of its own, and no other rule through it if that can be.

    A rule begins at its label's row and runs down, so that those of the rows above cross the rows below.

    Args:
        shares: Where the rules stand, from 0 at the left end of the plot to 1 at the right.
        texts: Their labels.

    >>> places([0.4, 0.5], ["left", "right"])
    [Place(row=0, side=1), Place(row=1, side=1)]
    """
    count = len(shares)
    options = (
        [Place(row, side) for row, side in zip(rows, sides, strict=True)]
        for rows in permutations(range(count))
        for sides in product((1, -1), repeat=count)
    )
    return min(options, key=lambda option: _cost(option, shares, texts))


def _cost(option: Sequence[Place], shares: Sequence[float], texts: Sequence[str]) -> float:
    cost = 0.0
    for index, (place, share, text) in enumerate(zip(option, shares, texts, strict=True)):
        near = share * _WIDTH + GAP * place.side
        start, end = sorted((near, near + _LETTER * len(text) * place.side))
        cost += _OUTSIDE * (start < 0 or end > _WIDTH)
        cost += _AWAY * (
            (share > 0.5) != (place.side < 0)
        )  # towards the middle there is room on narrow pages
        cost += _ORDER * index * (len(option) - place.row)
        crossing = (other for other, there in zip(shares, option, strict=True) if there.row < place.row)
        cost += _CROSSED * sum(start - 2 <= other * _WIDTH <= end + 2 for other in crossing)
    return cost
