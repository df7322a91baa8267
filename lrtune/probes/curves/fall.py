"""How far a series falls, how that divides over its course, and when it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.noise import noise_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Standard deviations, for a fall to be one. They are estimated from the values themselves, and of few by luck far too
# small: of 20,000 series of nothing but normal noise, one in 200 fell by more than 7 to 12 of its own estimate with 4
# to 7 values, by 6 with 11, and by 5 with 21.
_CLEAR, _FEW = 4.0, 7.0
_CLEAR_OF_MOST = 5.0  # likewise of what the noise cannot exceed, which is not estimated from so few
_LEAST = 1e-4  # of the first value: below it a fall is rounding
_BEGUN, _DONE = 0.1, 0.9
# Standard deviations of the later values, and how many of them it takes: of 5 values of noise one in a hundred is first
# by so much (Student's t), of 8 one in three hundred.
_APART, _LEAST_LATER = 4.0, 8


@dataclass(frozen=True)
class Fall:
    """The fall of a series from its first value.

    Attributes:
        first: The first value.
        lowest: The lowest, of the means of neighbouring three.
        last: The mean of the last values, a fifth of them.
        noise: Standard deviation of a value.
        clear: Whether the fall stands out of the noise.
        begun: Share of the course at which a tenth of the fall is done; NaN without a clear fall.
        done: Share of the course at which nine tenths of it are done; NaN without a clear fall.
        evenness: Fall of the second half over that of the first: 1 for a line, 0 for a quick drop; NaN without any.
    """

    first: float
    lowest: float
    last: float
    noise: float
    clear: bool
    begun: float
    done: float
    evenness: float

    @property
    def depth(self) -> float:
        """From the first value to the lowest; 0 where nothing lies below the first."""
        return max(self.first - self.lowest, 0.0)


def fall_of(values: Floats, most_noise: float = math.inf) -> Fall:
    """Measure the fall of equally spaced values.

    Args:
        values: `[count]`, two at least.
        most_noise: What their noise cannot exceed: the differences of few values hold mostly their course.
    """
    own, first = noise_scale(values), float(values[0])
    noise = min(own, most_noise)
    lowest = _lowest(values)
    last = float(values[-max(1, len(values) // 5) :].mean())
    needed = min(_CLEAR * (1 + _FEW / len(values)) * own, _CLEAR_OF_MOST * most_noise)
    if not _is_clear(values, first - lowest, needed):
        return Fall(first, lowest, last, noise, False, math.nan, math.nan, math.nan)
    depth = first - lowest
    middle = float(np.interp((len(values) - 1) / 2, np.arange(len(values)), values))
    early, late = first - middle, middle - float(values[-1])
    begun, done = _crossed(values, first - _BEGUN * depth), _crossed(values, first - _DONE * depth)
    return Fall(first, lowest, last, noise, True, begun, done, late / early if early > 0 else math.inf)


def _is_clear(values: Floats, depth: float, needed: float) -> bool:
    """Whether the fall stands out of the noise, or all that follows the first value lies far below it.

    The latter holds where the loss swings, and its swings look like noise.
    """
    first, later = float(values[0]), values[1:]
    if depth <= _LEAST * abs(first):
        return False
    apart = (
        first - float(later.mean()) > _APART * float(later.std(ddof=1))
        if len(later) >= _LEAST_LATER
        else False
    )
    return apart or depth > needed


def _lowest(values: Floats) -> float:
    """The lowest mean of three neighbours: the lowest of many noisy values would be the noise's own."""
    later = values[1:]
    if len(later) < 3:
        return float(later.min()) if later.size else float(values[0])
    return float(np.convolve(later, np.full(3, 1 / 3), mode="valid").min())


def _crossed(values: Floats, level: float) -> float:
    """Return where the values first come below a level, as a share of the course."""
    below = np.flatnonzero(values <= level)
    if not below.size:
        return 1.0
    at = int(below[0])
    if at == 0:
        return 0.0
    above, under = float(values[at - 1]), float(values[at])
    return (at - 1 + (above - level) / (above - under)) / (len(values) - 1)
