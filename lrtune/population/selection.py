"""Which of the trainings side by side are not worth going on with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.training import Run
    from lrtune.results import Curve


class Selection(Protocol):
    """Decides after each epoch which of the trainings side by side are not worth going on with."""

    def losing(self, runs: Sequence[Run], epoch: int, epochs: int) -> list[Run]:
        """Return which of the runs under way are left behind after an epoch of so many."""


@dataclass(frozen=True)
class Halving:
    """Successive halving: at equal steps the best go on, the others stop (Jamieson and Talwalkar, 2016).

    After few steps high rates look better than low ones that would have caught up: a bias that it cannot know of.

    Attributes:
        share: One in so many goes on at each rung.
        peers: Curves of trainings done before, which compete at the rungs that they came to.
    """

    share: int
    peers: Sequence[Curve] = ()

    def rungs(self, epochs: int) -> list[int]:
        """Return the epochs after which members are compared: epochs / share, epochs / share^2, ..., ascending.

        >>> Halving(3).rungs(9)
        [1, 3]
        """
        found: set[int] = set()
        rest = epochs
        while rest > 1:
            rest = -(-rest // self.share)
            found.add(rest)
        return sorted(found - {epochs})

    def losing(self, runs: Sequence[Run], epoch: int, epochs: int) -> list[Run]:
        """Return which of the runs under way are left behind after an epoch; none but at a rung."""
        if epoch not in self.rungs(epochs):
            return []
        losses = [loss for peer in self.peers if (loss := peer.loss_after(epoch)) is not None]
        competing = [(run, run.curve.loss_after(epoch)) for run in runs]
        together = sorted([*losses, *(loss for _, loss in competing if loss is not None)])
        going_on = together[: -(-len(together) // self.share)]
        worst = going_on[-1] if going_on else math.inf
        return [run for run, loss in competing if loss is None or loss > worst]
