"""What a worker process does: build populations, and do with them what its parent asks for, until it hangs up."""

from __future__ import annotations

import gc
import multiprocessing
import pickle
import sys
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.reduction import recv_handle
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.channels_last import laid_out
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.parcel import Parcel, unpacked
from lrtune.population.sharded.private import keep_private
from lrtune.population.sharded.told import Told, told

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from multiprocessing.connection import Connection

    from lrtune.population.protocol import Member


@dataclass(frozen=True)
class Nested:
    """How a worker trains its own members.

    Attributes:
        execution: `serial` or `fused`.
        traced: Whether a fused program is recorded and played again.
        channels_last: Whether convolutions' weights lie in memory channel by channel.
    """

    execution: str = "serial"
    traced: bool = False
    channels_last: bool = False


@dataclass(frozen=True)
class Request:
    """What a worker is asked for.

    Attributes:
        number: Of the request; its answer bears it too.
        command: Name of a method of `_Served`.
        arguments: Of the method.
        released: Populations and parcels that nobody needs any longer.
    """

    number: int
    command: str
    arguments: tuple[Any, ...]
    released: tuple[int, ...] = ()


@dataclass(frozen=True)
class Answer:
    """What a worker answers.

    Attributes:
        number: Of the request; 0 for the first message, which says whether it can work.
        value: What the command returned.
        error: What it raised.
        failures: What the user's code has raised in the members of the population.
    """

    number: int
    value: Any = None
    error: Told | None = None
    failures: tuple[Told | None, ...] = ()


def serve(connection: Connection, known: Mapping[str, Any]) -> None:
    """Work until the connection ends.

    Args:
        connection: To the parent.
        known: What was there before the fork, by the names that parcels use.
    """
    torch.set_num_threads(1)  # one core each; and a forked child must enter no parallel region of OpenMP
    keep_private(connection)
    inherited = set(multiprocessing.active_children())
    served = _Served(connection, known)
    refused = _why_no_gradient()
    try:
        _send(connection, Answer(0, refused))
        while refused is None:
            request = pickle.loads(connection.recv_bytes())
            _send(connection, served.answer(request))
    except (EOFError, OSError):  # the parent has hung up
        for process in set(multiprocessing.active_children()) - inherited:
            process.terminate()


def _why_no_gradient() -> str | None:
    """Return why torch computes no gradients here, as in the child of a process that had done so on an accelerator."""
    try:
        with torch.enable_grad():
            torch.ones(1, requires_grad=True).sum().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        return f"torch refuses gradients in a forked process ({str(error).splitlines()[0]})"
    return None


def _send(connection: Connection, answer: Answer) -> None:
    for stream in (sys.stdout, sys.stderr):  # what the user's code prints
        with suppress(Exception):
            stream.flush()
    connection.send_bytes(pickle.dumps(answer, protocol=5))


class _Served:
    """The populations and parcels of a worker, by the numbers that the parent gave them."""

    def __init__(self, connection: Connection, known: Mapping[str, Any]) -> None:
        self._connection = connection
        self._known = known
        self._parcels: dict[int, Any] = {}
        self._populations: dict[int, SerialPopulation | FusedPopulation] = {}
        self._commands: dict[str, Callable[..., Any]] = {
            "take": self._take,
            "build": self._build,
            "advance": self._advance,
            "evaluate": self._evaluate,
            "keep": self._keep,
            "export": self._export,
        }

    def answer(self, request: Request) -> Answer:
        self._release(request.released)
        try:
            with torch.enable_grad():
                value = self._commands[request.command](*request.arguments)
        except BaseException as error:  # SystemExit and KeyboardInterrupt of the user's code are told as well
            return Answer(request.number, error=told(error), failures=self._failures(request))
        return Answer(request.number, value, failures=self._failures(request))

    def _release(self, numbers: tuple[int, ...]) -> None:
        found = [held.pop(number, None) for held in (self._populations, self._parcels) for number in numbers]
        if any(one is not None for one in found):
            del found
            gc.collect()

    def _failures(self, request: Request) -> tuple[Told | None, ...]:
        population = self._populations.get(request.arguments[0])
        if population is None:
            return ()
        return tuple(None if one is None else told(one) for one in population.failures)

    def _take(self, number: int, pickled: bytes, places: tuple[tuple[int, int], ...], shared: bool) -> None:
        memory = recv_handle(self._connection) if shared else -1
        parcel = Parcel(pickled, memory, places)
        try:
            self._parcels[number] = unpacked(parcel, self._known)
        finally:
            parcel.close()

    def _build(self, number: int, parcel: int, members: tuple[Member, ...], nested: Nested) -> None:
        program, train, splits = self._parcels[parcel]
        program = laid_out(program, nested.channels_last)
        if nested.execution == "fused":
            self._populations[number] = FusedPopulation(program, members, train, splits, nested.traced)
        else:
            self._populations[number] = SerialPopulation(program, members, train, splits)

    def _advance(self, number: int, steps: int) -> Any:
        """Return the losses. That all members here have failed is for the parent to judge, which sees the others."""
        return self._populations[number].train(steps).numpy()

    def _evaluate(self, number: int, split: str, training_mode: bool) -> Any:
        measured = self._populations[number].evaluate(split, training_mode)
        return measured.loss.tolist(), {name: value.tolist() for name, value in measured.metrics.items()}

    def _keep(self, number: int, members: tuple[int, ...]) -> None:
        self._populations[number].keep(members)

    def _export(self, number: int, member: int) -> Any:
        return dict(self._populations[number].export(member))
