"""How much step 2 tries on a model: fewer rates on a slow one, of which the worst are dropped sooner.

Two runs of the same program must find the same. So there is one bound between the usual effort and the small one, and
both go on to the same end: a model is called unable to learn after all steps alone.
"""

from __future__ import annotations

from dataclasses import dataclass

# 1e-4 to 1: what any optimizer is run at.
RATES = tuple(10 ** (half_decade / 2) for half_decade in range(-8, 1))

# Seconds of a forward pass; a training step takes as long as three. Nine rates for 25 steps, and the measurements of
# five batches before and after them, are some 900 passes: 45 s at this bound until the first look.
SLOW = 0.05
FORWARDS = 3  # a forward and backward pass takes as long as: the backward one has two products a layer


@dataclass(frozen=True)
class Effort:
    """What is tried on a sample.

    Attributes:
        rates: Learning rates.
        hopeful: (share of the steps, rates that go on from there), in this order: those with the lowest losses.
        every: Steps between measurements on the whole sample.
    """

    rates: tuple[float, ...]
    hopeful: tuple[tuple[float, int], ...]
    every: int

    def going_on(self, share: float) -> int:
        """Return how many rates go on after a share of the steps."""
        return min([count for after, count in self.hopeful if share >= after], default=len(self.rates))


USUAL = Effort(RATES, ((0.25, 4),), every=25)
# The same range of rates, a decade apart.
SMALL = Effort(RATES[::2], ((0.05, 3), (0.25, 2)), every=15)


def effort_for(forward: float) -> Effort:
    """Return what is spent on a model of which a forward pass takes so many seconds."""
    return SMALL if forward >= SLOW else USUAL
