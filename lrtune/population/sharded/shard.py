"""The members of one worker, and what they have done so far: enough to have another worker do it again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.errors import LrtuneError
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.sharded.remote import WorkerDiedError
from lrtune.population.sharded.told import raised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.protocol import Member
    from lrtune.population.sharded.pool import WorkerPool
    from lrtune.population.sharded.remote import Shipment, Worker
    from lrtune.population.sharded.told import Told
    from lrtune.population.sharded.worker import Answer, Nested

_MOST_DEATHS = 2  # at the same work: one is chance, three in a row are not
_CHANGING = ("build", "advance", "keep")  # commands that what follows depends on


class WorkersDiedError(LrtuneError, MemoryError):
    """Worker after worker has died at the same work: most likely the system killed them for their memory."""


@dataclass(frozen=True)
class _Command:
    name: str
    arguments: tuple[Any, ...]


class Shard:
    """Some members in a worker.

    A worker that dies is replaced, and its members are trained again up to where they were: what they draw and read
    depends on their seeds alone, so that the numbers are the same.

    Args:
        pool: Gives workers.
        slot: Which of them.
        shipment: What the population is made of.
        members: Its members.
    """

    def __init__(self, pool: WorkerPool, slot: int, shipment: Shipment, members: Sequence[Member]) -> None:
        self.number = pool.number()
        self.members = tuple(members)
        self.failures: tuple[Exception | None, ...] = (None,) * len(members)
        self._told: tuple[Told | None, ...] = (None,) * len(members)
        self._pool, self._slot, self._shipment = pool, slot, shipment
        self._worker: Worker | None = None
        self._history: list[_Command] = []
        self._asked: tuple[_Command, int] | None = None
        self._deaths = 0

    def build(self, nested: Nested) -> None:
        """Ask for the members' models; as every request, to be followed by `answer`."""
        self.ask("build", self._shipment.number, self.members, nested)

    def ask(self, name: str, *arguments: Any) -> None:
        """Ask the worker for something, without waiting for it.

        Raises:
            CannotShardError: If no worker can be started.
            WorkersDiedError: If several have died at this in a row.
        """
        self._send(_Command(name, arguments))

    def answer(self) -> Answer:
        """Return the answer to what was asked for; if the worker has died, that of the next one.

        Raises:
            CannotShardError: If no worker can be started.
            WorkersDiedError: If several have died at this in a row.
        """
        while True:
            assert self._asked is not None
            command, number = self._asked
            try:
                assert self._worker is not None
                answer = self._worker.receive(number)
                break
            except WorkerDiedError:
                self._died()
                self._send(command)
        self._deaths, self._asked = 0, None
        self._note(command, answer)
        return answer

    def keep(self, members: Sequence[int]) -> None:
        """Ask the worker to drop the others; what is known of them here goes at once."""
        self.members = tuple(self.members[index] for index in members)
        self.failures = tuple(self.failures[index] for index in members)
        self._told = tuple(self._told[index] for index in members)
        self.ask("keep", tuple(members))

    def _send(self, command: _Command) -> None:
        while True:
            try:
                self._worker = worker = self._prepared()
                self._asked = command, worker.send(command.name, self.number, *command.arguments)
                return
            except WorkerDiedError:
                self._died()
            except CannotShardError as error:
                if not self._history:  # nothing has begun, and may begin elsewhere
                    raise
                raise WorkersDiedError(
                    f"a worker process has ended, and no other can take over: {error}"
                ) from None

    def _prepared(self) -> Worker:
        """Return a living worker that holds the members as they are."""
        worker = self._pool.worker(self._slot)
        if worker is not self._worker:
            _checked(worker.give(self._shipment))
            for command in self._history:
                _checked(worker.receive(worker.send(command.name, self.number, *command.arguments)))
        return worker

    def _died(self) -> None:
        self._worker = None
        self._deaths += 1
        if self._deaths > _MOST_DEATHS:
            self._pool.lost = True
            raise WorkersDiedError(
                f"worker processes ended {self._deaths} times in a row at the same steps, without a word: most "
                "likely the system killed them, being out of memory; take population: {execution: serial}, fewer "
                "population.workers or a smaller batch_size"
            )

    def _note(self, command: _Command, answer: Answer) -> None:
        failed = bool(answer.failures) and answer.failures != self._told
        if failed:
            self._told = answer.failures
            self.failures = tuple(None if one is None else _failure(one) for one in answer.failures)
        if answer.error is None and (command.name in _CHANGING or failed):
            self._history.append(command)


def _failure(told: Told) -> Exception:
    error = raised(told)
    assert isinstance(error, Exception)
    return error


def _checked(answer: Answer | None) -> None:
    if answer is not None and answer.error is not None:
        raise raised(answer.error)
