"""Data that are read anew each time: a `DataLoader`, an augmenting dataset, any re-iterable of batches."""

from __future__ import annotations

import copy
import os
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from lrtune.data.batches import Batches
from lrtune.data.nest import example_count, to_device
from lrtune.data.resident import shuffled
from lrtune.errors import LrtuneError, TaskError, user_code
from lrtune.random_state import RandomStream, mixed, preserved, seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_EVALUATION = 2**31  # an epoch number that no training reaches: evaluations read under a seed of their own
_LONGEST = 100_000  # batches of a pass that says no length: far past any epoch that is worth several runs
_MOST_WORKERS = 4  # processes that read for a GPU; more hold more batches than it takes
_WORTH_BATCHES = 8  # of a pass, below which starting processes costs more than they save
_END = object()
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
        for batch in _replayed(self._batches, mixed(seed, epoch), self._name):
            count += 1
            if example_count(batch) == 0:
                raise TaskError(f"Task.{self._name}: batch {count} is empty ({type(batch).__name__})")
            yield _moved(batch, self._device, self._name)
        if count == 0:
            raise TaskError(f"Task.{self._name}: gave no batch at all ({type(self._batches).__name__})")
        self._counted = count

    def in_order(self) -> Iterator[Any]:
        """Yield the batches of a pass that is the same each time.

        Raises:
            TaskError: If the pass comes to no end.
        """
        limit = _LONGEST + (self.batch_count or 0)
        for count, batch in enumerate(self.epoch(0, _EVALUATION)):
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


class DatasetBatches(Batches):
    """A map-style dataset whose items change from reading to reading (or do not fit), through a `DataLoader`.

    For a GPU processes read ahead, into memory that it copies from by itself. What an example draws (an augmentation)
    then depends on its batch alone, and not on how many processes there are.

    Args:
        dataset: The dataset.
        batch_size: Examples per batch; the last, incomplete batch is kept.
        device: Where batches are moved to.
        name: `train` or `val`, for messages.
        workers: How many processes read ahead; None for as many as suit the device. Data that cannot be read in
            another process are read here.
    """

    def __init__(
        self, dataset: Any, batch_size: int, device: torch.device, name: str, workers: int | None = None
    ) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._device = device
        self._name = name
        self._wanted = _usual_workers(device) if workers is None else workers

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield the batches of a random permutation of all examples."""
        return self._read(shuffled(len(self._dataset), seed, epoch).tolist(), mixed(seed, epoch))

    def head(self, count: int, seed: int) -> list[Any]:
        """Return the first batches of training, reading nothing else."""
        order = shuffled(len(self._dataset), seed, 0)[: count * self._batch_size]
        return list(self._read(order.tolist(), mixed(seed, 0)))

    def in_order(self) -> Iterator[Any]:
        """Yield the batches in the dataset's own order, augmented alike each time."""
        return self._read(list(range(len(self._dataset))), mixed(0, _EVALUATION))

    @property
    def batch_count(self) -> int:
        """Batches per epoch, the incomplete one included."""
        return -(-len(self._dataset) // self._batch_size)

    def _read(self, order: list[int], seed: int) -> Iterator[Any]:
        for batch in _replayed(self._loader(order, seed), seed, self._name):
            yield _moved(batch, self._device, self._name)

    def _loader(self, order: list[int], seed: int) -> DataLoader[Any]:
        apart = self._workers > 0
        worth = len(order) >= _WORTH_BATCHES * self._batch_size
        return DataLoader(
            SeededByBatch(self._dataset, seed) if apart else self._dataset,
            self._batch_size,
            sampler=order,
            num_workers=self._workers if worth else 0,
            pin_memory=self._device.type == "cuda",
        )

    @cached_property
    def _workers(self) -> int:
        """How many processes read ahead: none where the data cannot be read in one (they use the GPU, say)."""
        if not self._wanted:
            return 0
        tried = DataLoader(SeededByBatch(self._dataset, 0), 1, sampler=[0], num_workers=1)
        try:
            with preserved():
                next(iter(tried))
        except Exception:  # whatever it is: where it is the data's own fault, reading them here tells
            return 0
        return self._wanted


class SeededByBatch(torch.utils.data.Dataset[Any]):
    """A dataset whose batches each draw from a stream that their first example sets, whichever process reads them.

    Args:
        dataset: Map-style.
        seed: Of the pass.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self._dataset = dataset
        self._seed = seed

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitems__(self, indices: list[int]) -> list[Any]:
        """Return a batch's examples; `DataLoader` asks for them all at once."""
        seed_everything(mixed(self._seed, indices[0]))
        many = getattr(self._dataset, "__getitems__", None)
        return list(many(indices)) if many else [self._dataset[index] for index in indices]


def _usual_workers(device: torch.device) -> int:
    if device.type != "cuda":  # a process of its own, on the cores that train
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(_MOST_WORKERS, cores - 1)


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


def _moved(batch: Any, device: torch.device, name: str) -> Any:
    with user_code(f"moving a batch of Task.{name} to {device}"):
        return to_device(batch, device)


def _replayed(batches: Iterable[Any], seed: int, name: str) -> Iterator[Any]:
    """Iterate under random streams of its own, entered only while the user's code runs."""
    stream, held = RandomStream(seed), _HeldGenerators(batches, seed)
    with stream, held, user_code(f"iterating over Task.{name}"):
        iterator = iter(_own_pass(batches))
    while True:
        with stream, held, user_code(f"reading a batch of Task.{name}"):
            batch = next(iterator, _END)
        if batch is _END:
            return
        yield batch


def _own_pass(batches: Iterable[Any]) -> Iterable[Any]:
    """Return what a pass of its own can be started on, whatever other passes are under way.

    With persistent workers a loader has one iterator, which every `iter` starts anew. A copy has none yet; its
    workers are new ones, so that what they draw depends on the seed alone.
    """
    if isinstance(batches, DataLoader) and batches.persistent_workers:
        own = copy.copy(batches)
        own._iterator = None
        return own
    return batches


class _HeldGenerators:
    """The generators that a loader and its samplers hold, seeded while the block runs, else as the caller left them.

    Several passes over one loader may be under way, and one may never come to its end: so the states are swapped
    around every batch.

    Args:
        batches: The loader.
        seed: Where its generators begin.
    """

    def __init__(self, batches: Any, seed: int) -> None:
        holders = [batches, *(getattr(batches, name, None) for name in ("sampler", "batch_sampler"))]
        holders.append(getattr(getattr(batches, "batch_sampler", None), "sampler", None))
        found = [getattr(holder, "generator", None) for holder in holders]
        self._generators = list({id(one): one for one in found if isinstance(one, torch.Generator)}.values())
        self._own = [torch.Generator(one.device).manual_seed(seed).get_state() for one in self._generators]
        self._outer: list[torch.Tensor] = []

    def __enter__(self) -> None:
        self._outer = [generator.get_state() for generator in self._generators]
        self._set(self._own)

    def __exit__(self, *_: object) -> None:
        self._own = [generator.get_state() for generator in self._generators]
        self._set(self._outer)

    def _set(self, states: list[torch.Tensor]) -> None:
        for generator, state in zip(self._generators, states, strict=True):
            generator.set_state(state)
