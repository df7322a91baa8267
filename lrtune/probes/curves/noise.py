"""How large the noise of a series is, told from differences of neighbours, which hold almost nothing of its course."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAD_TO_STD = 1.4826  # for normally distributed noise
_ROUNDING = 1e-9  # of the values: differences below it are rounding
_BLOCKS = 4  # in a window: short beside any swing that a window can show


def noise_scale(values: Floats) -> float:
    """Return the standard deviation of independent noise on a smooth series.

    Var(x[i-1] - 2 x[i] + x[i+1]) = 6 σ² for independent noise (Gasser, Sroka and Jennen-Steinmetz, "Residual variance
    and residual pattern in nonlinear regression", 1986); the median of their size leaves out spikes.

    Args:
        values: `[count]`; fewer than 3 have no second difference, and 0 is returned.
    """
    if len(values) < 3:
        return 0.0
    noise = MAD_TO_STD * float(np.median(np.abs(np.diff(values, 2)))) / math.sqrt(6)
    return noise if noise > _ROUNDING * float(np.abs(values).max()) else 0.0


def error_of_mean(values: Floats, window: int) -> float:
    """Return the standard error of the mean of so many neighbours, whether their noise is independent or not.

    The larger of what independent noise would have, and what the means of short blocks have between them (batch
    means: Conway, "Some tactical problems in digital simulation", 1963): noise that carries over from one step to the
    next leaves little in the differences of neighbours, and more in the means.

    Args:
        values: `[count]`.
        window: How many are averaged.
    """
    independent = noise_scale(values) / math.sqrt(window)
    block = max(1, window // _BLOCKS)
    means = values[: len(values) // block * block].reshape(-1, block).mean(axis=1)
    return max(independent, noise_scale(means) * math.sqrt(block / window))
