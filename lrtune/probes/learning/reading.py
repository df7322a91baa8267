"""What sweeps or probes say of the rate to train at."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """A rate and how well it is known.

    Attributes:
        suggestion: The rate to train at.
        low: From here...
        high: ... to here the best rate is likely to lie.
        noise: Standard error of the losses that were compared, as a share of their fall; NaN where unknown.
    """

    suggestion: float
    low: float
    high: float
    noise: float
