"""A dataset read once into tensors on the device and batched by index: no Python work per example."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import Subset, TensorDataset, default_collate

from lrtune.data.batches import Batches
from lrtune.data.device import free_bytes
from lrtune.data.nest import byte_count, equal_nests, leaves_of, map_nest, to_device
from lrtune.errors import user_code
from lrtune.random_state import mixed, seeded

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.progress import Progress

_PROBED = 16  # examples read twice to see whether reading them is deterministic
_CHUNK = 1024  # examples collated at a time
_MEMORY_SHARE = 0.25  # of what is free: the model, its optimizers and activations need the rest
_READING_SECONDS = 120.0  # past this a loader that reads only what a step needs answers sooner


class ResidentBatches(Batches):
    """Batches cut by index from tensors that hold the whole dataset.

    Args:
        dataset: A map-style dataset whose items are deterministic.
        batch_size: Examples per batch; the last, incomplete batch is kept.
        device: Where the tensors live.
        progress: Told while the data are read, which happens at the first use.
    """

    resident = True

    def __init__(self, dataset: Any, batch_size: int, device: torch.device, progress: Progress) -> None:
        self._dataset = dataset
        self._batch_size = batch_size
        self._device = device
        self._progress = progress
        self._count = len(dataset)
        self._tensors: Any = None

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield the batches of a random permutation of all examples."""
        return self._cut(shuffled(self._count, seed, epoch))

    def in_order(self) -> Iterator[Any]:
        """Yield the batches in the dataset's own order."""
        return self._cut(torch.arange(self._count))

    @property
    def batch_count(self) -> int:
        """Batches per epoch, the incomplete one included."""
        return -(-self._count // self._batch_size)

    def head(self, count: int, seed: int) -> list[Any]:
        """Return the first batches of training, reading no more of the dataset than they hold."""
        return self._few(shuffled(self._count, seed, 0)[: count * self._batch_size])

    def subset(self, examples: int, seed: int) -> list[Any]:
        """Return batches of a fixed random sample, reading no more of the dataset than it holds."""
        return self._few(shuffled(self._count, seed, 0)[:examples])

    def _few(self, order: torch.Tensor) -> list[Any]:
        if self._tensors is not None or tensors_behind(self._dataset) is not None:
            return list(self._cut(order))
        parts = torch.split(order, self._batch_size)
        return [self._moved(fetch(self._dataset, part.tolist())) for part in parts]

    def _cut(self, order: torch.Tensor) -> Iterator[Any]:
        tensors = self._read()
        # CUDA has read ordinary memory by the time the call returns, and need not be waited for; others do not say so.
        there = order.to(self._device, non_blocking=self._device.type == "cuda")
        for indices in torch.split(there, self._batch_size):
            yield map_nest(lambda tensor, at=indices: tensor[at], tensors)  # type: ignore[misc]

    def _read(self) -> Any:
        if self._tensors is None:
            held = tensors_behind(self._dataset)
            self._tensors = self._moved(held if held is not None else self._read_items())
        return self._tensors

    def _moved(self, tensors: Any) -> Any:
        with user_code(f"moving the data of {type(self._dataset).__name__} to {self._device}"):
            return to_device(tensors, self._device)

    def _read_items(self) -> Any:
        chunks = []
        with self._progress.bar("reading the data", self._count) as bar:
            for start in range(0, self._count, _CHUNK):
                indices = range(start, min(start + _CHUNK, self._count))
                chunks.append(fetch(self._dataset, indices))
                bar.advance(len(indices))
        return _concatenated(chunks)


def shuffled(count: int, seed: int, epoch: int) -> torch.Tensor:
    """Return the order of `count` examples in an epoch, int64 `[count]`; (seed, epoch) sets it for good."""
    return torch.randperm(count, generator=torch.Generator().manual_seed(mixed(seed, epoch)))


def fetch(dataset: Any, indices: Sequence[int]) -> Any:
    """Read examples and collate them as a `DataLoader` does.

    Raises:
        UserCodeError: If the dataset raises, or its examples do not stack.
    """
    with user_code(f"reading examples {indices[0]} to {indices[-1]} of {type(dataset).__name__}"):
        many = getattr(dataset, "__getitems__", None)
        return default_collate(many(list(indices)) if many else [dataset[index] for index in indices])


def can_be_resident(dataset: Any, device: torch.device) -> bool:
    """Say whether items are tensors, the same at every reading, and fit in memory.

    Probe: the same examples are read twice under different random states; an augmentation shows as a difference.
    """
    held = tensors_behind(dataset)
    if held is not None:
        elsewhere = [tensor for tensor in held if tensor.device.type != device.type]
        return _fits(byte_count(elsewhere), device)
    count = len(dataset)
    indices = sorted({round(at * (count - 1) / (_PROBED - 1)) for at in range(_PROBED)})
    started = time.perf_counter()
    with seeded(1):
        first = fetch(dataset, indices)
    seconds = (time.perf_counter() - started) / len(indices) * count
    if seconds > _READING_SECONDS or not all(isinstance(leaf, torch.Tensor) for leaf in leaves_of(first)):
        return False
    if not _fits(byte_count(first) / len(indices) * count, device):
        return False
    with seeded(2):
        return equal_nests(first, fetch(dataset, indices))


def _fits(size: float, device: torch.device) -> bool:
    return size == 0 or size <= _MEMORY_SHARE * free_bytes(device)


def tensors_behind(dataset: Any) -> list[torch.Tensor] | None:
    """Return the tensors of a `TensorDataset`, or of a `Subset` of one, without reading items."""
    if type(dataset) is TensorDataset:
        return list(dataset.tensors)
    if type(dataset) is Subset and type(dataset.dataset) is TensorDataset:
        indices = torch.as_tensor(dataset.indices)
        return [tensor[indices] for tensor in dataset.dataset.tensors]
    return None


def _concatenated(chunks: list[Any]) -> Any:
    if len(chunks) == 1:
        return chunks[0]
    parts = iter(
        [torch.cat(pieces) for pieces in zip(*(list(leaves_of(chunk)) for chunk in chunks), strict=True)]
    )
    return map_nest(lambda _: next(parts), chunks[0])
