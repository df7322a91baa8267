"""How much trying step 2 spends on a model: less on a slow one, and never more than a given time.

Two runs of the same program must find the same. So there is one bound between the usual effort and the small one, and
the time after which step 2 gives up lies far beyond what either takes on a model that learns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks.catalogue import finding
from lrtune.steps.examining import NO_TIME, Examined
from lrtune.steps.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.results import Finding

# 1e-4 to 1: what any optimizer is run at.
RATES = tuple(10 ** (half_decade / 2) for half_decade in range(-8, 1))

# Seconds of a forward pass; a training step takes as long as three. With the usual effort a model that learns nothing
# takes 5400 forward passes, and one that learns in 50 steps 1600: 270 s and 80 s at this bound. With the small effort
# they are 2300 and 600.
SLOW = 0.05
FORWARDS = 3  # a forward and backward pass takes as long as: the backward one has two products a layer
SECONDS = 300.0  # of step 2's tries together: what a model below the bound needs to the end of all of them
# What tries that were cut short do not tell.
_NOT_TOLD = ("cannot-overfit", "double-softmax", "input-ignored", "train-eval-gap")


@dataclass(frozen=True)
class Effort:
    """What is tried on a sample.

    Attributes:
        rates: Learning rates.
        hopeful: (share of the steps, rates that go on from there), in this order: those with the lowest losses.
        batches: Minibatches of the sample, None for as many as asked for.
        block: Steps between two looks at the clock.
    """

    rates: tuple[float, ...]
    hopeful: tuple[tuple[float, int], ...]
    batches: int | None
    block: int

    def going_on(self, share: float) -> int:
        """Return how many rates go on after a share of the steps."""
        return min([count for after, count in self.hopeful if share >= after], default=len(self.rates))


USUAL = Effort(RATES, ((0.25, 4),), batches=None, block=25)
# The same range of rates, a decade apart, on one minibatch; at the first measurement the worst are dropped.
SMALL = Effort(RATES[::2], ((0.0, 3), (0.25, 2)), batches=1, block=1)


def effort_for(forward: float) -> Effort:
    """Return what is spent on a model of which a forward pass takes so many seconds."""
    return SMALL if forward >= SLOW else USUAL


class Patience:
    """The time that step 2's tries may take together; what begins when it is over is not done.

    Args:
        seconds: From now on.

    Attributes:
        ended: Whether something was to be done for which there was no time.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self._seconds = seconds
        self._watch = Stopwatch()
        self.ended = False

    def lasts(self) -> bool:
        """Say whether there is time to go on; ask only where there is something to do."""
        self.ended = self.ended or self._watch.seconds() >= self._seconds
        return not self.ended


def unseen() -> dict[str, Any]:
    """Return what the result's details keep of tries that were not brought to their end."""
    return Examined("whether the sample can be learnt", SECONDS, [], NO_TIME, _NOT_TOLD).told()


def unfinished(steps: int, rates: Sequence[float], wanted: int, learnt: bool) -> Finding:
    """Return the finding of tries that were not brought to their end.

    Args:
        steps: Taken.
        rates: Those tried.
        wanted: Steps that there were to take.
        learnt: Whether a rate has learnt the sample all the same.
    """
    message = (
        f"Step 2 ended after {SECONDS:g} s, {steps} of {wanted} steps at {len(rates)} rates from {min(rates):g} to "
        f"{max(rates):g}: "
    )
    message += (
        "a rate has learnt the sample; whether its loss is held up (bounded outputs, a softmax too many) is not known."
        if learnt
        else "whether the model can learn the sample is not known."
    )
    fix = (
        "Look at what model and loss do besides computing (waiting, loading, printing); a smaller batch_size makes "
        "every step shorter, and fewer overfit.steps can be done to their end."
    )
    return finding("out-of-time", message, SECONDS, f"{wanted} steps in less", fix)
