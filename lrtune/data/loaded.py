"""A `DataLoader`, or any other re-iterable of batches, used as it is."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from lrtune.data.batches import EVALUATION, Batches
from lrtune.data.nest import example_count
from lrtune.data.replay import moved, replayed
from lrtune.data.resident import shuffled
from lrtune.errors import LrtuneError, TaskError
from lrtune.random_state import mixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import torch

_LONGEST = 100_000  # batches of a pass that says no length: far past any epoch that is worth several runs
_WHOLE = (SequentialSampler, RandomSampler)  # samplers of every index, whatever the data


class IterableBatches(Batches):
    """The batches of a `DataLoader` or another re-iterable, used as it is.

    Shuffling and augmentation draw from a stream seeded by (seed, epoch), so that an epoch can be read again;
    generators that the loader holds are put back as they were.

    Args:
        batches: The re-iterable.
        device: Where batches are moved to.
        name: `train` or `val`, for messages.
    """

    def __init__(self, batches: Iterable[Any], device: torch.device, name: str) -> None:
        self._batches = batches
        self._device = device
        self._name = name
        self._counted: int | None = None
        self.collated = getattr(batches, "collate_fn", None) is default_collate

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield the batches of one pass."""
        count = 0
        for batch in replayed(self._batches, mixed(seed, epoch), self._name):
            count += 1
            if example_count(batch) == 0:
                raise TaskError(f"Task.{self._name}: batch {count} is empty ({type(batch).__name__})")
            yield moved(batch, self._device, self._name)
        if count == 0:
            raise TaskError(f"Task.{self._name}: gave no batch at all ({type(self._batches).__name__})")
        self._counted = count

    def in_order(self) -> Iterator[Any]:
        """Yield the batches of a pass that is the same each time.

        Raises:
            TaskError: If the pass comes to no end.
        """
        limit = _LONGEST + (self.batch_count or 0)
        for count, batch in enumerate(self.epoch(0, EVALUATION)):
            if count == limit:
                raise TaskError(
                    f"Task.{self._name}: the stream does not end ({limit} batches read); bound it with "
                    "itertools.islice in its __iter__, or give it a __len__ if it is only long"
                )
            yield batch

    def subset(self, examples: int, seed: int) -> list[Any]:
        """Return batches of a fixed sample: a random one, where a loader's dataset can be read by index.

        The first batches of a loader that does not shuffle would hold one class: images on disk are sorted by it.
        """
        drawn = _at_random(self._batches, examples, seed)
        if drawn is not None:
            # What can only be read by the loader's own workers, or collated in another way, fails here.
            with suppress(LrtuneError):
                return IterableBatches(drawn, self._device, self._name).subset(examples, seed)
        return super().subset(examples, seed)

    @property
    def batch_count(self) -> int | None:
        """Batches per epoch: what the re-iterable says, else what the last whole pass held."""
        try:
            return len(self._batches)  # type: ignore[arg-type]
        except (TypeError, NotImplementedError):
            return self._counted


def _at_random(batches: Any, examples: int, seed: int) -> DataLoader[Any] | None:
    """Return a loader of randomly drawn examples, whole batches of them; None where they have no indices."""
    if not isinstance(batches, DataLoader) or not _reads_by_index(batches):
        return None
    size = batches.batch_size
    assert size is not None
    order = shuffled(len(batches.dataset), seed, 0)[: -(-examples // size) * size].tolist()  # type: ignore[arg-type]
    return DataLoader(
        batches.dataset, size, sampler=order, collate_fn=batches.collate_fn, drop_last=batches.drop_last
    )


def _reads_by_index(loader: DataLoader[Any]) -> bool:
    """Say whether a loader reads its whole dataset by index, an example at a time and in torch's own ways."""
    made = (type(loader).__iter__, type(loader)._get_iterator)
    if made != (DataLoader.__iter__, DataLoader._get_iterator) or loader.batch_size is None:
        return False  # a None is a batch_sampler of the user's, or a dataset of batches
    dataset: Any = loader.dataset
    sampler: Any = loader.sampler
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__"):
        return False
    usual = type(sampler) in _WHOLE and type(loader.batch_sampler) is BatchSampler
    return usual and len(sampler.data_source) == len(dataset)
