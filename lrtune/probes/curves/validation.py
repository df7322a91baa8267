"""Validation against training: its lowest point, the rise after it, and what of the learning carries over."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lrtune.probes.curves.noise import noise_scale

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_AVERAGED = 3


@dataclass(frozen=True)
class Validation:
    """How the validation loss goes beside the training loss.

    Attributes:
        lowest: The lowest mean of three neighbouring evaluations.
        at: Position of that evaluation.
        rise: Mean of the last evaluations (a fifth of them, two at least) above the lowest.
        error: Standard error of the rise.
        train_rise: What the training loss rises meanwhile; negative where it goes on falling.
        gap: Validation above training at the end.
        opened: What of that gap was not there at the beginning, where nothing was learnt yet.
        carried: Fall of the validation loss over that of the training loss; NaN where the latter does not fall.
    """

    lowest: float
    at: int
    rise: float
    error: float
    train_rise: float
    gap: float
    opened: float
    carried: float


def validation_of(train: Floats, val: Floats) -> Validation:
    """Measure validation losses beside training losses, `[evaluations]` each, two at least."""
    width = min(_AVERAGED, len(val))
    means = np.convolve(val, np.full(width, 1 / width), mode="valid")
    place = int(np.argmin(means))
    at = place + width // 2
    last = max(2, len(val) // 5) if len(val) > 3 else 1
    end, train_end = float(val[-last:].mean()), float(train[-last:].mean())
    learnt = float(train[0]) - train_end
    return Validation(
        lowest=float(means[place]),
        at=at,
        rise=end - float(means[place]),
        error=noise_scale(val) * math.sqrt(1 / width + 1 / last),
        train_rise=train_end - float(train[at]),
        gap=end - train_end,
        opened=(end - train_end) - float(val[0] - train[0]),
        carried=(float(val[0]) - end) / learnt if learnt > 0 else math.nan,
    )
