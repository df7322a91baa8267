"""What a fused program takes in memory, forecast from programs of few members that are measured."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lrtune.data.batches import FixedBatches
from lrtune.population.fused.population import FusedPopulation
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member

_FEW, _MORE = 2, 4  # members of the programs measured: one alone is given to other kernels
_STEPS = 4  # two computed, one recorded, one played


class Footprint(NamedTuple):
    """What a program takes at its peak, data left out.

    Attributes:
        shared: Bytes that it takes however many members it has.
        member: Bytes for each of them.
    """

    shared: float
    member: float

    def of(self, members: int) -> float:
        """Return the bytes of a program of so many members."""
        return self.shared + members * self.member


def footprint(program: Program, members: Sequence[Member], train: Batches, traced: bool) -> Footprint:
    """Measure programs of two and four members in training; what a further one adds is the same for all.

    Costs four steps of each. Counted is what torch's operations allocate; what a kernel takes for itself while it runs
    is not, which is up to 6 % for convolutions on the CPU.

    Raises:
        CannotFuseError: If these members cannot be one program.
        UserCodeError: If the user's code raises.
    """
    # Those of several orders first: with a batch of its own a member costs more.
    firsts = list({member.order: member for member in members}.values())
    chosen = [*firsts, *(member for member in members if member not in firsts)]
    few, more = ([chosen[at % len(chosen)] for at in range(count)] for count in (_FEW, _MORE))
    batches = _Several({member.order: train.head(1, member.order) for member in more})

    def taken(these: list[Member]) -> int:
        with preserved():
            return peak(lambda: FusedPopulation(program, these, batches, {}, traced).train(_STEPS))

    least, most = taken(few), taken(more)
    each = max(most - least, 0) / (_MORE - _FEW)
    return Footprint(max(least - _FEW * each, 0.0), each)


class _Several(FixedBatches):
    """A batch for each order, again and again."""

    def __init__(self, read: dict[int, list[Any]]) -> None:
        super().__init__([])
        self._read = read

    def epoch(self, seed: int, epoch: int) -> Iterator[Any]:
        """Yield the order's batch."""
        return iter(self._read[seed])


def peak(run: Callable[[], object]) -> int:
    """Return how many bytes of tensors that come into being while a function runs are alive at most at once."""
    counting = _Counting()
    with counting:
        run()
    return counting.peak


class _Counting(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the memory of new tensors, from the operation that gives them to their end."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak: int = 0
        self._alive = 0
        self._storages: dict[int, weakref.ref[Any]] = {}

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled; otherwise torch would load its compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for one in tree_leaves(out):
            if isinstance(one, torch.Tensor) and one.layout is torch.strided:
                self._count(one.untyped_storage())
        return out

    def _count(self, storage: Any) -> None:
        key, size = storage._cdata, storage.nbytes()
        if size and key not in self._storages:
            self._storages[key] = weakref.ref(storage, lambda _: self._ended(key, size))
            self._alive += size
            self.peak = max(self.peak, self._alive)

    def _ended(self, key: int, size: int) -> None:
        self._alive -= size
        self._storages.pop(key, None)
