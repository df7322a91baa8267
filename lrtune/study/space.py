"""The space that a refined search looks in: around the best cells of the coarse grid, on log scales."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from optuna.distributions import FloatDistribution

if TYPE_CHECKING:
    from collections.abc import Sequence

_RATE_MARGIN = 10**0.5  # half a decade: the step of the coarse grid
_DECAY_MARGIN = 10.0
_NO_DECAY = 1e-3  # of the smallest positive decay: too weak to matter, and so the log scale's place for none


@dataclass(frozen=True)
class Space:
    """Ranges of learning rate and weight decay.

    A log scale has no zero. The lower end of the decay's range stands for no decay at all: it lies three decades
    below the smallest positive decay in sight.

    Attributes:
        lr_low: Lowest learning rate.
        lr_high: Highest learning rate.
        decay_low: Stands for a weight decay of 0.
        decay_high: Highest weight decay; 0 when only a decay of 0 is searched.
    """

    lr_low: float
    lr_high: float
    decay_low: float
    decay_high: float

    @classmethod
    def around(cls, cells: Sequence[dict[str, Any]], decays: Sequence[float]) -> Space:
        """Return the space around the best cells.

        Args:
            cells: The best trials of the coarse grid.
            decays: Every decay that the coarse grid has tried.
        """
        rates = [float(cell["lr"]) for cell in cells]
        positive = [decay for decay in decays if decay > 0]
        low, high = min(rates) / _RATE_MARGIN, max(rates) * _RATE_MARGIN
        if not positive:
            return cls(low, high, 0.0, 0.0)
        most = max((float(cell["weight_decay"]) for cell in cells), default=0.0) or min(positive)
        return cls(low, high, min(positive) * _NO_DECAY, most * _DECAY_MARGIN)

    def distributions(self) -> dict[str, FloatDistribution]:
        """Return Optuna's distributions."""
        axes = {"lr": FloatDistribution(self.lr_low, self.lr_high, log=True)}
        if self.decay_high > 0:
            axes["weight_decay"] = FloatDistribution(self.decay_low, self.decay_high, log=True)
        return axes

    def parameters_of(self, lr: float, weight_decay: float) -> dict[str, float]:
        """Return a setting as the study's parameters, inside the ranges."""
        parameters = {"lr": min(max(lr, self.lr_low), self.lr_high)}
        if self.decay_high > 0:
            parameters["weight_decay"] = min(max(weight_decay, self.decay_low), self.decay_high)
        return parameters

    def setting_of(self, parameters: dict[str, float]) -> tuple[float, float]:
        """Return learning rate and weight decay of the study's parameters."""
        decay = parameters.get("weight_decay", 0.0)
        return parameters["lr"], 0.0 if decay <= self.decay_low else decay

    def to_dict(self) -> dict[str, float]:
        """Return the ranges as plain values."""
        return asdict(self)
