"""The worker processes of one task: forked when they are needed, replaced when they have died.

What they share with this process, the task and its data, is what it held when their template was forked. That is done
at their first use, when the data are read. Only where an accelerator is there it is done at once, before any backward
pass: torch computes no gradients in a child of a process that has done so on a machine with one.
"""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import finalize

import torch

from lrtune.population.sharded.cores import usable_cores, why_not_forked
from lrtune.population.sharded.fork_server import ForkError, ForkServer
from lrtune.population.sharded.parcel import packed
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.sharded.remote import Shipment, Worker, WorkerDiedError
from lrtune.population.sharded.worker import serve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program


class WorkerPool:
    """Worker processes that share what this process holds now.

    Args:
        known: The task's parts and data by name: what need not be sent.
        device: Where members are trained.
        most: As many workers as the user allows; None for one a core.
    """

    def __init__(self, known: Mapping[str, Any], device: torch.device, most: int | None = None) -> None:
        self._known = dict(known)
        self._numbers = count(1)
        self._server: ForkServer | None = None
        self._workers: dict[int, Worker] = {}
        self._shipments: list[Shipment] = []
        self._early = (
            torch.accelerator.is_available() if hasattr(torch, "accelerator") else torch.cuda.is_available()
        )
        self._read: set[int] = set()  # ids of known data that the template holds in memory
        self._stop = finalize(self, _nothing)
        self.size = most or usable_cores()
        self.lost = False  # whether some work has killed every worker that took it
        self.start_seconds = 0.0  # spent on starting workers so far
        self.refused = why_not_forked(device)

    @property
    def reads_again(self) -> bool:
        """Whether workers cannot share data that this process has read: their template was forked before."""
        return self._early

    def open(self) -> None:
        """Fork the template now, where that would be too late at the first use."""
        if self._early:
            self._start()

    def _start(self) -> None:
        if self.refused is not None or self._server is not None:
            return
        if not self._early:  # else it costs time that may never be needed
            _import_compiler()
        try:
            self._server = ForkServer(partial(serve, known=self._known), self._warm)
        except ForkError as error:
            self.refused = str(error)
            return
        self._stop.detach()
        self._stop = finalize(self, self._server.close)

    def _warm(self) -> None:
        """Do in the template what every worker would do for itself: read the data that are kept in memory."""
        _import_compiler()
        for name in ("train", "val"):
            _read(self._known.get(name))

    def _share(self, train: Batches, splits: Mapping[str, Batches]) -> None:
        """See to it that known data are in memory once, in what all workers share."""
        own = [one for one in (self._known.get("train"), self._known.get("val")) if one is not None]
        needed = [one for one in own if any(one is used for used in (train, *splits.values()))]
        new = {id(one) for one in needed if one.resident} - self._read
        if not new:
            return
        self._read |= new
        if self._early:
            self._start()
            if self._server is not None:
                with suppress(ForkError):  # the first worker tells
                    self._server.warm()
        else:
            for one in needed:
                _read(one)
            self.close()  # the next template holds them

    def close(self) -> None:
        """End all processes; others are forked when they are needed."""
        for worker in self._workers.values():
            worker.connection.close()
        self._workers.clear()
        self._shipments.clear()
        if self._early:  # else the next template holds what this process has read
            self._read.clear()
        if self._server is not None:
            self._server.close()
            self._server = None
            self._stop.detach()

    def number(self) -> int:
        """Return a number that names nothing else yet."""
        return next(self._numbers)

    def shipment(self, program: Program, train: Batches, splits: Mapping[str, Batches]) -> Shipment:
        """Return what populations of these parts need, the one made last where it is for the same.

        Raises:
            CannotShardError: If a part that is new since the start cannot be sent.
        """
        parts = (program, train, dict(splits))
        for shipment in self._shipments:
            if shipment.holds(*parts):
                return shipment
        self._share(train, splits)
        made = Shipment(self.number(), parts, packed(parts, self._known))
        self._shipments = [made]
        return made

    def worker(self, slot: int) -> Worker:
        """Return the living worker of a slot, starting it where there is none.

        Raises:
            CannotShardError: If none can be started.
        """
        worker = self._workers.get(slot)
        if worker is None or not worker.alive:
            worker = self._workers[slot] = self._started(worker)
        return worker

    def _started(self, dead: Worker | None) -> Worker:
        began = time.perf_counter()
        for last in (False, True):
            self._start()
            if self._server is None:
                raise CannotShardError(self.refused or "there are no worker processes")
            try:
                if dead is not None:
                    self._server.stop(dead.pid)
                worker = Worker(*self._server.fork())
                self.refused = worker.hello()
                break
            except (ForkError, WorkerDiedError) as error:
                if last:
                    raise CannotShardError(str(error)) from None
                self.close()  # the template is gone, or fails: another may do
        if self.refused is not None:
            self.close()
            raise CannotShardError(self.refused)
        self.start_seconds += time.perf_counter() - began
        return worker

    def abandon(self) -> None:
        """Kill every worker: an exchange was interrupted, and what they would answer next is anyone's guess."""
        for worker in self._workers.values():
            worker.alive = False
            worker.connection.close()
            if self._server is not None:
                self._server.stop(worker.pid)
        self._workers.clear()

    def release(self, number: int) -> None:
        """Have the workers free a population or a shipment; safe at any time, a garbage collection included."""
        for worker in list(self._workers.values()):
            worker.released.append(number)

    @property
    def processes(self) -> list[int]:
        """The process ids of the living workers, the template's first."""
        server = [] if self._server is None else [self._server.pid]
        return [*server, *(worker.pid for worker in self._workers.values() if worker.alive)]


def _nothing() -> None:
    pass


def _import_compiler() -> None:
    """Have torch import its compiler, as it does for the first optimizer of a process: seconds for each worker."""
    torch.optim.SGD([torch.zeros(1)], lr=0.1)


def _read(batches: Batches | None) -> None:
    """Have data that are kept in memory read, if they are not yet."""
    if batches is not None and batches.resident:
        next(iter(batches.in_order()), None)
