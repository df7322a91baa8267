"""Which constant rates are worth a try after the sweeps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.probes.learning.sweep import geometric_median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.learning.sweep import Sweep

SPACING = math.sqrt(10)  # between neighbours: a rate lies within a quarter of a decade of one of them
_BLIND_SPACING = 10.0  # where the sweeps show nothing
_BLIND_DECADES = 7  # below the highest rate, likewise
_ABOVE_LOWEST = 10.0  # a swept loss may go on for decades without falling or rising


def rates_to_probe(sweeps: Sequence[Sweep], count: int) -> list[float]:
    """Return about `count` rates, ascending, by constant factors.

    They lie below the rate at which the sweeps diverge, or a decade above the one at which their loss is lowest,
    whichever is less; where the sweeps show neither, they span the range in decades.
    """
    diverged = [float(sweep.rates[sweep.diverged]) for sweep in sweeps if sweep.diverged is not None]
    lowest = [_ABOVE_LOWEST * float(sweep.rates[sweep.lowest]) for sweep in sweeps if sweep.descends]
    tops = [geometric_median(rates) for rates in (diverged, lowest) if rates]
    highest = float(sweeps[0].rates[-1])
    if tops:
        return _below(min(*tops, highest), count, SPACING)
    return _below(highest, max(count, _BLIND_DECADES), _BLIND_SPACING)


def _below(highest: float, count: int, factor: float) -> list[float]:
    return [highest / factor**steps for steps in reversed(range(count))]
