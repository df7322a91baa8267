"""What every kind of data becomes: batches in a known order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import islice
from typing import TYPE_CHECKING, Any

from lrtune.data.nest import example_count

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIRST_EPOCH = 0
EVALUATION = 2**31  # an epoch number that no training reaches: evaluations read under a seed of their own


class Batches(ABC):
    """Batches on the device, the same ones whenever the same (seed, epoch) is asked for.

    Attributes:
        resident: Whether they are cut from memory, so that reading them again costs next to nothing.
        collated: Whether the first dimension of every tensor is known to run over examples, since lrtune or torch's
            default made the batches from single ones; a user's own batches may have it elsewhere.
    """

    resident: bool = False
    collated: bool = True

    @abstractmethod
    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield one epoch's training batches, in the order that (seed, epoch) sets."""

    @abstractmethod
    def in_order(self) -> Iterator[Any]:
        """Yield every batch for an evaluation: one order for good, no randomness that changes."""

    @property
    @abstractmethod
    def batch_count(self) -> int | None:
        """Batches per epoch, or None while nobody knows (a stream)."""

    def counted(self) -> int:
        """Return the batches per epoch, reading an epoch to count them where nothing says it."""
        known = self.batch_count
        return known if known is not None else sum(1 for _ in self.in_order())

    def subset(self, examples: int, seed: int) -> list[Any]:
        """Return batches of a fixed random sample of at least `examples` examples, or of all there are.

        The same seed gives the same sample: curves that compare on it share its noise.
        """
        chosen: list[Any] = []
        held = 0
        for batch in self.epoch(seed, _FIRST_EPOCH):
            chosen.append(batch)
            held += example_count(batch)
            if held >= examples:
                break
        return chosen

    def head(self, count: int, seed: int) -> list[Any]:
        """Return the first `count` batches that training under `seed` would see, or all there are."""
        return list(islice(self.epoch(seed, _FIRST_EPOCH), count))

    def stream(self, seed: int) -> Iterator[Any]:
        """Yield batches without end, epoch after epoch.

        Raises:
            StopIteration: At once, if an epoch holds no batch at all.
        """
        epoch = _FIRST_EPOCH
        while True:
            empty = True
            for batch in self.epoch(seed, epoch):
                empty = False
                yield batch
            if empty:
                return
            epoch += 1


class FixedBatches(Batches):
    """A few batches kept as they are: the sample that is to be overfit, an evaluation subset.

    Args:
        batches: The batches, on the device already.
    """

    resident = True

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield the batches in their one order."""
        return iter(self._batches)

    def in_order(self) -> Iterator[Any]:
        """Yield the batches in their one order."""
        return iter(self._batches)

    @property
    def batch_count(self) -> int:
        """How many batches there are."""
        return len(self._batches)
