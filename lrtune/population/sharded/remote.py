"""A worker process as its parent sees it: what it is asked, what it answers, what it holds."""

from __future__ import annotations

import pickle
from collections import deque
from contextlib import suppress
from itertools import count
from multiprocessing.reduction import send_handle
from typing import TYPE_CHECKING, Any
from weakref import finalize

from lrtune.population.sharded.worker import Answer, Request

if TYPE_CHECKING:
    from collections.abc import Mapping
    from multiprocessing.connection import Connection

    from lrtune.population.sharded.parcel import Parcel

_HELLO = 60.0  # seconds for a forked worker's first word


class WorkerDiedError(Exception):
    """A worker has ended in the middle of its work."""


class Shipment:
    """Parts of a population, packed once and sent once to each worker."""

    def __init__(self, number: int, parts: tuple[Any, Any, dict[str, Any]], parcel: Parcel) -> None:
        self.number, self._parts, self.parcel = number, parts, parcel
        finalize(self, parcel.close)

    def holds(self, program: Any, train: Any, splits: Mapping[str, Any]) -> bool:
        """Say whether these are the very parts that it was made of."""
        own_program, own_train, own_splits = self._parts
        same = own_program is program and own_train is train and own_splits.keys() == splits.keys()
        return same and all(own_splits[name] is splits[name] for name in splits)


class Worker:
    """One worker process, as its parent sees it."""

    def __init__(self, pid: int, connection: Connection) -> None:
        self.pid, self.connection = pid, connection
        self.alive = True
        self.released: deque[int] = deque()
        self._numbers = count(1)
        self._held: set[int] = set()

    def hello(self) -> str | None:
        """Return why it cannot work, None if it can.

        Raises:
            WorkerDiedError: If it says nothing.
        """
        try:
            if not self.connection.poll(_HELLO):
                raise EOFError
            answer: Answer = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError):
            self.alive = False
            raise WorkerDiedError("a worker process did not begin to work") from None
        reason: str | None = answer.value
        return reason

    def send(self, command: str, *arguments: Any) -> int:
        """Ask for something; return the request's number.

        Raises:
            WorkerDiedError: If it has ended.
        """
        released = tuple(self.released.popleft() for _ in range(len(self.released)))
        self._held.difference_update(released)
        number = next(self._numbers)
        self._written(pickle.dumps(Request(number, command, arguments, released), protocol=5))
        return number

    def receive(self, number: int) -> Answer:
        """Wait for the answer to a request.

        Raises:
            WorkerDiedError: If it has ended.
        """
        try:
            while True:
                answer: Answer = pickle.loads(self.connection.recv_bytes())
                if answer.number == number:
                    return answer
        except (EOFError, OSError):
            self.alive = False
            raise WorkerDiedError(f"worker {self.pid} has ended") from None

    def give(self, shipment: Shipment) -> Answer | None:
        """Send a shipment that it does not hold yet; return the answer if something went wrong.

        Raises:
            WorkerDiedError: If it has ended.
        """
        if shipment.number in self._held:
            return None
        parcel = shipment.parcel
        number = self.send("take", shipment.number, parcel.pickled, parcel.places, parcel.memory >= 0)
        if parcel.memory >= 0:
            with suppress(OSError):  # the answer tells
                send_handle(self.connection, parcel.memory, self.pid)
        answer = self.receive(number)
        if answer.error is not None:
            return answer
        self._held.add(shipment.number)
        return None

    def _written(self, message: bytes) -> None:
        try:
            self.connection.send_bytes(message)
        except (OSError, ValueError):
            self.alive = False
            raise WorkerDiedError(f"worker {self.pid} has ended") from None
