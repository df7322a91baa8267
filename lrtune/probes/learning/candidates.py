"""Which constant rates are worth a try after the sweeps."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.probes.learning.sweep import geometric_median

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.learning.sweep import Sweep

SPACING = math.sqrt(10)  # between neighbours: a rate lies within a quarter of a decade of one of them
_BLIND_DECADES = 6  # below the highest rate that are spanned where the sweeps show nothing
_ABOVE_LOWEST = 10.0  # a swept loss may go on for decades without falling or rising


@dataclass(frozen=True)
class Candidates:
    """Rates to train at.

    Attributes:
        rates: Ascending, by a constant factor.
        blind: Whether the sweeps said nothing of where to look.
    """

    rates: list[float]
    blind: bool = False

    @property
    def highest(self) -> float | None:
        """The highest that the sweeps propose, None where they say nothing."""
        return None if self.blind else self.rates[-1]


def rates_to_probe(sweeps: Sequence[Sweep], count: int) -> Candidates:
    """Return about `count` rates.

    They lie below the rate at which the sweeps diverge, or a decade above the one at which their loss is lowest,
    whichever is less; where the sweeps show neither, they span six decades below the highest rate.
    """
    diverged = [float(sweep.rates[sweep.diverged]) for sweep in sweeps if sweep.diverged is not None]
    lowest = [_ABOVE_LOWEST * float(sweep.rates[sweep.lowest]) for sweep in sweeps if sweep.descends]
    tops = [geometric_median(rates) for rates in (diverged, lowest) if rates]
    highest = float(sweeps[0].rates[-1])
    if tops:
        return Candidates(_below(min(*tops, highest), count, SPACING))
    return Candidates(_below(highest, count, 10 ** (_BLIND_DECADES / (count - 1))), blind=True)


def _below(highest: float, count: int, factor: float) -> list[float]:
    return [highest / factor**steps for steps in reversed(range(count))]
