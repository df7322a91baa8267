"""Where a training ends above where it has been: the level of its last part against its lowest part."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.noise import MAD_TO_STD, noise_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PARTS = 6
_MEDIAN_ERROR = 1.2533  # of a median, times σ / sqrt(n), for normal noise


@dataclass(frozen=True)
class Rise:
    """The last part of a series against its lowest.

    Attributes:
        height: Median of the last part above that of the lowest; 0 where the last is the lowest.
        error: Standard error of that height.
        fall: Median of the first part above that of the lowest.
        lowest: Share of the course at the end of the lowest part.
    """

    height: float
    error: float
    fall: float
    lowest: float


def rise_of(values: Floats) -> Rise:
    """Compare the medians of six equal parts: a spike moves none of them.

    Args:
        values: `[count]`, 12 at least; else there is no rise to speak of.
    """
    if len(values) < 2 * _PARTS:
        return Rise(0.0, math.inf, 0.0, 1.0)
    parts = np.array_split(values, _PARTS)
    levels = [float(np.median(part)) for part in parts]
    at = int(np.argmin(levels))
    last, noise = parts[-1], noise_scale(values)
    scatter = MAD_TO_STD * float(np.median(np.abs(last - levels[-1])))
    error = _MEDIAN_ERROR * max(noise, min(scatter, 2 * noise)) * math.sqrt(2 / len(last))
    return Rise(levels[-1] - levels[at], error, levels[0] - levels[at], (at + 1) / _PARTS)
