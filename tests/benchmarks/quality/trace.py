"""What a search costs and what it has: its best validation loss as a function of the gradient steps it took."""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Trace:
    """The evaluations of one search, in the order in which they were paid for.

    Attributes:
        initial: Validation loss before any training.
        steps: Gradient steps of all members together when an evaluation was made, ascending.
        losses: What each evaluation measured; NaN where the training had diverged.
    """

    initial: float = math.nan
    steps: list[int] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    spent: int = 0

    def pay(self, steps: int) -> None:
        """Count steps that end in no evaluation."""
        self.spent += steps

    def evaluated(self, steps: int, loss: float | None) -> None:
        """Count steps that end in a validation loss, None where there is no such number."""
        self.pay(steps)
        self.steps.append(self.spent)
        self.losses.append(math.nan if loss is None else loss)

    @property
    def best(self) -> float:
        """The lowest loss of all."""
        return min((loss for loss in self.losses if math.isfinite(loss)), default=math.inf)

    def steps_until(self, loss: float) -> float:
        """Return the steps until a validation loss was at most so much; infinity where none was."""
        reached = (steps for steps, found in zip(self.steps, self.losses, strict=True) if found <= loss)
        return next(reached, math.inf)
