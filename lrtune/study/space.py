"""The space that a refined search looks in: around the best cells of the coarse grid, on log scales."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from optuna.distributions import FloatDistribution

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE_MARGIN = 10**0.5  # half a decade: the step of the coarse grid
_DECAY_MARGIN = 10.0
_NO_DECAY = 1e-3  # of the smallest positive decay: too weak to matter, and so the log scale's place for none
_NEAR = 0.1  # of a range's length, on its log scale: what lies as close to an end might lie beyond it


@dataclass(frozen=True)
class Space:
    """Ranges of learning rate and weight decay.

    A log scale has no zero. Where the best cells have no decay, the lower end of the decay's range stands for none: it
    lies three decades below the smallest positive decay in sight.

    Attributes:
        lr_low: Lowest learning rate.
        lr_high: Highest learning rate.
        decay_low: Lowest weight decay.
        decay_high: Highest weight decay; 0 when only a decay of 0 is searched.
        decay_none: Whether `decay_low` stands for a weight decay of 0.
    """

    lr_low: float
    lr_high: float
    decay_low: float
    decay_high: float
    decay_none: bool = True

    @classmethod
    def around(
        cls, cells: Sequence[dict[str, Any]], rates: Sequence[float], decays: Sequence[float]
    ) -> Space:
        """Return the space around the best cells, a margin wider than they lie.

        Where the best of all has the lowest or highest value that was tried, nothing is known of what lies beyond: the
        margin on that side is twice as wide.

        Args:
            cells: The best trials of the coarse grid, the best first.
            rates: Every learning rate that the coarse grid has tried.
            decays: Likewise every weight decay.
        """
        known = [float(cell["lr"]) for cell in cells]
        low = min(known) / _margin(_RATE_MARGIN, known[0] == min(rates))
        high = max(known) * _margin(_RATE_MARGIN, known[0] == max(rates))
        return cls(low, high, *_decay_range([float(cell["weight_decay"]) for cell in cells], decays))

    @property
    def searches_decay(self) -> bool:
        """Whether weight decay is an axis."""
        return self.decay_high > 0

    def end_near(self, name: str, value: float) -> str | None:
        """Return `up` or `down` where a value lies at an end of its range beyond which there is something.

        Args:
            name: `lr` or `weight_decay`.
            value: A value inside the range.
        """
        if name == "weight_decay" and not self.searches_decay:
            return None
        low, high = self._ends(name)
        place = math.log(max(value, low) / low) / math.log(high / low)
        if place > 1 - _NEAR:
            return "up"
        return "down" if place < _NEAR and not (name == "weight_decay" and self.decay_none) else None

    def widened(self, name: str, direction: str) -> Space:
        """Return the space with a margin more at one end; at the lower end of the decay, down to none."""
        low, high = self._ends(name)
        if name == "lr" and direction == "up":
            return replace(self, lr_high=high * _RATE_MARGIN)
        if name == "lr":
            return replace(self, lr_low=low / _RATE_MARGIN)
        if direction == "up":
            return replace(self, decay_high=high * _DECAY_MARGIN)
        return replace(self, decay_low=low * _NO_DECAY, decay_none=True)

    def _ends(self, name: str) -> tuple[float, float]:
        return (self.lr_low, self.lr_high) if name == "lr" else (self.decay_low, self.decay_high)

    def distributions(self) -> dict[str, FloatDistribution]:
        """Return Optuna's distributions."""
        axes = {"lr": FloatDistribution(self.lr_low, self.lr_high, log=True)}
        if self.searches_decay:
            axes["weight_decay"] = FloatDistribution(self.decay_low, self.decay_high, log=True)
        return axes

    def parameters_of(self, lr: float, weight_decay: float) -> dict[str, float]:
        """Return a setting as the study's parameters, inside the ranges."""
        parameters = {"lr": min(max(lr, self.lr_low), self.lr_high)}
        if self.searches_decay:
            parameters["weight_decay"] = min(max(weight_decay, self.decay_low), self.decay_high)
        return parameters

    def setting_of(self, parameters: dict[str, float]) -> tuple[float, float]:
        """Return learning rate and weight decay of the study's parameters."""
        decay = parameters.get("weight_decay", 0.0)
        return parameters["lr"], 0.0 if self.decay_none and decay <= self.decay_low else decay

    def to_dict(self) -> dict[str, Any]:
        """Return the ranges as plain values."""
        return asdict(self)


def _decay_range(known: Sequence[float], decays: Sequence[float]) -> tuple[float, float, bool]:
    """Return the range of the decay around those of the best cells, and whether its lower end stands for none."""
    positive = [decay for decay in decays if decay > 0]
    if not positive:
        return 0.0, 0.0, True
    most = max(known) or min(positive)
    high = most * _margin(_DECAY_MARGIN, known[0] == max(positive))
    if min(known) == 0:
        return min(positive) * _NO_DECAY, high, True
    return min(known) / _margin(_DECAY_MARGIN, known[0] == min(decays)), high, False


def _margin(margin: float, at_edge: bool) -> float:
    return margin**2 if at_edge else margin
