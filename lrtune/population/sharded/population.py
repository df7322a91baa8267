"""Members dealt out to worker processes; see `Population` for what each method promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any
from weakref import finalize

import torch

from lrtune.population.evaluation import gathered
from lrtune.population.sharded.shard import Shard
from lrtune.population.sharded.told import raised
from lrtune.population.sharded.worker import Nested

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Evaluation, Member, State
    from lrtune.population.sharded.pool import WorkerPool
    from lrtune.population.sharded.worker import Answer


class ShardedPopulation:
    """K members in several processes, each of which trains its own one after the other or as one program.

    Every number is what the nested execution gives in a process with one thread: for a serial one bitwise that. (With
    more threads sums are taken in another order, which may change last bits.)

    Args:
        program: Model, loss and optimizer.
        members: What is trained; dealt out in turn, since they cost alike.
        train: The training batches.
        splits: What `evaluate` measures on, by name.
        pool: Where the workers come from.
        workers: How many to use at most; None for all that the pool has.
        nested: How each worker trains its members.

    Raises:
        CannotShardError: If there are no workers, or something cannot be sent to them.
        CannotFuseError: If the nested execution is fused and these members cannot be one program.
        TaskError: If the task builds something that cannot be trained.
        UserCodeError: If the user's code raises.
    """

    def __init__(
        self,
        program: Program,
        members: Sequence[Member],
        train: Batches,
        splits: Mapping[str, Batches],
        pool: WorkerPool,
        workers: int | None = None,
        nested: Nested | None = None,
    ) -> None:
        count = max(1, min(workers or pool.size, len(members)))
        shipment = pool.shipment(program, train, splits)
        self._pool = pool
        self._shards = [Shard(pool, slot, shipment, members[slot::count]) for slot in range(count)]
        self._places = [(index % count, index // count) for index in range(len(members))]
        finalize(self, _released, pool, [shard.number for shard in self._shards])
        self._exchanged(self._shards, lambda shard: shard.build(nested or Nested()))

    @property
    def members(self) -> tuple[Member, ...]:
        """The members still there."""
        return tuple(self._shards[at].members[index] for at, index in self._places)

    @property
    def failures(self) -> tuple[Exception | None, ...]:
        """What each member's user code raised, if anything; the traceback tells the lines, and keeps nothing alive."""
        return tuple(self._shards[at].failures[index] for at, index in self._places)

    def advance(self, steps: int) -> torch.Tensor:
        """Train every member that has not stopped; see `Population.advance`.

        Raises:
            UserCodeError: If every member has failed: the fault is not one member's numbers.
            WorkersDiedError: If worker after worker dies.
        """
        busy = self._busy()
        answers = self._exchanged(busy, lambda shard: shard.ask("advance", steps))
        found = {shard.number: answer.value for shard, answer in zip(busy, answers, strict=True)}
        losses = torch.full((len(self._places), steps), math.nan, dtype=torch.float64)
        for row, (at, index) in enumerate(self._places):
            losses[row] = torch.from_numpy(found[self._shards[at].number][index])
        if self._places and all(self.failures):
            raise next(failure for failure in self.failures if failure is not None)
        return losses

    def evaluate(self, split: str, training_mode: bool = False) -> Evaluation:
        """Measure every member on a split; see `Population.evaluate`."""
        busy = self._busy()
        answers = self._exchanged(busy, lambda shard: shard.ask("evaluate", split, training_mode))
        found = {shard.number: answer.value for shard, answer in zip(busy, answers, strict=True)}
        rows = []
        for at, index in self._places:
            losses, metrics = found[self._shards[at].number]
            rows.append((losses[index], {name: values[index] for name, values in metrics.items()}))
        return gathered(rows)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all others; see `Population.keep`. Each stays in the process where it is."""
        kept: list[list[int]] = [[] for _ in self._shards]
        places = []
        for at, index in (self._places[member] for member in members):
            places.append((at, len(kept[at])))
            kept[at].append(index)
        busy, wanted = self._busy(), {id(shard): own for shard, own in zip(self._shards, kept, strict=True)}
        self._places = places
        changed = [shard for shard in busy if wanted[id(shard)] != list(range(len(shard.members)))]
        self._exchanged(changed, lambda shard: shard.keep(wanted[id(shard)]))

    def export(self, member: int) -> State:
        """Return one member's state_dict; see `Population.export`."""
        at, index = self._places[member]
        state: State = self._exchanged([self._shards[at]], lambda shard: shard.ask("export", index))[0].value
        return state

    def _busy(self) -> list[Shard]:
        return [shard for shard in self._shards if shard.members]

    def _exchanged(self, shards: Sequence[Shard], ask: Any) -> list[Answer]:
        """Ask all workers before any answer is waited for, and return their answers."""
        try:
            for shard in shards:
                ask(shard)
            answers = [shard.answer() for shard in shards]
        except BaseException:
            self._pool.abandon()  # some have been asked and not heard; they are replaced if they are needed again
            raise
        for answer in answers:
            if answer.error is not None:
                raise raised(answer.error)
        return answers


def _released(pool: WorkerPool, numbers: list[int]) -> None:
    for number in numbers:
        pool.release(number)
