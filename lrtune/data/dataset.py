"""A map-style dataset that is read anew each time: it augments its examples, or does not fit in memory."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from lrtune.data.batches import EVALUATION, Batches
from lrtune.data.replay import moved, replayed
from lrtune.data.resident import shuffled
from lrtune.random_state import mixed, preserved, seed_everything

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_WORKERS = 4  # processes that read for a GPU; more hold more batches than it takes
_WORTH_BATCHES = 8  # of a pass, below which starting processes costs more than they save


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
        return self._read(list(range(len(self._dataset))), mixed(0, EVALUATION))

    @property
    def batch_count(self) -> int:
        """Batches per epoch, the incomplete one included."""
        return -(-len(self._dataset) // self._batch_size)

    def _read(self, order: list[int], seed: int) -> Iterator[Any]:
        for batch in replayed(self._loader(order, seed), seed, self._name):
            yield moved(batch, self._device, self._name)

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
