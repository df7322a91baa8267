"""What a curve's judgement has to know besides the curve."""

from __future__ import annotations

from dataclasses import dataclass

# The design's coarse grid trains for 1 to 5 epochs: so short that going on is the next step's business, not a finding.
_BUDGET_EPOCHS = 6
_BUDGET_STEPS = 1000  # of a refined trial: epochs of a large set are few and long


@dataclass(frozen=True)
class Setting:
    """Where a curve comes from.

    Attributes:
        refined: Whether it is of the refined search, whose length is meant to tell how training goes.
        epochs: It was to be trained for.
        steps: Of an epoch.
        higher_rate_tried: Whether the grid tried a rate of twice this one's or more.
        lowest_train_loss: Of all complete trials of the grid; None where that is not known.
    """

    refined: bool
    epochs: int
    steps: int
    higher_rate_tried: bool = False
    lowest_train_loss: float | None = None

    @property
    def long_enough(self) -> bool:
        """Whether the length of the training is a thing to judge."""
        return self.epochs >= _BUDGET_EPOCHS or (self.refined and self.epochs * self.steps >= _BUDGET_STEPS)
