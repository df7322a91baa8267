"""A pass over the user's batches that can be read again: random streams and held generators begin where it says."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader

from lrtune.data.nest import to_device
from lrtune.errors import user_code
from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_END = object()


def moved(batch: Any, device: torch.device, name: str) -> Any:
    """Return a batch on a device; what goes wrong is the user's."""
    with user_code(f"moving a batch of Task.{name} to {device}"):
        return to_device(batch, device)


def replayed(batches: Iterable[Any], seed: int, name: str) -> Iterator[Any]:
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
