"""The straight line through a phase of a series, with the standard error of its drop."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.noise import noise_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_LEAST_POINTS = 3
_STEADY = 3.0  # standard errors, for a trend to be more than chance


@dataclass(frozen=True)
class Trend:
    """How far the fitted line falls over a phase.

    Attributes:
        drop: From its beginning to its end; negative where it rises.
        error: Standard error of the drop.
    """

    drop: float
    error: float

    @property
    def falls(self) -> bool:
        """Whether it falls by more than chance."""
        return self.drop > _STEADY * self.error

    @property
    def rises(self) -> bool:
        """Whether it rises by more than chance."""
        return -self.drop > _STEADY * self.error


def last_part(series: Floats, share: float = 1 / 3) -> Floats:
    """Return the last share of a series, three values at least."""
    return series[-max(_LEAST_POINTS, math.ceil(share * len(series))) :]


def trend_of(values: Floats) -> Trend:
    """Return the drop of the least-squares line through equally spaced values, and its standard error.

    The error counts the scatter around the line as well as the noise between neighbours, whichever is larger: few
    points may lie on a line by chance.
    """
    count = len(values)
    if count < 2:
        return Trend(0.0, math.inf)
    position = np.linspace(-0.5, 0.5, count)
    spread = float((position**2).sum())
    slope = float(position @ (values - values.mean())) / spread
    left = values - values.mean() - slope * position
    scatter = math.sqrt(float(left @ left) / (count - 2)) if count > 2 else 0.0
    return Trend(-slope, max(scatter, noise_scale(values)) / math.sqrt(spread))
