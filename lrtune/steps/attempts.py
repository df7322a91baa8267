"""Trials that raise: tried again alone, told as failed, and a sweep stopped in which all fail alike."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.errors import LrtuneError, UserCodeError
from lrtune.population.training import train_members

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lrtune.population.protocol import Member
    from lrtune.population.selection import Selection
    from lrtune.population.training import Run
    from lrtune.steps.context import Context

_AGAIN = 2  # times that a trial that has raised is tried again
_ALIKE = 3  # trials that fail alike before any has gone well: one or two may be rates that are too high


@dataclass(frozen=True)
class Attempt:
    """A training that has come to its end.

    Attributes:
        run: The training, the last one where there were several.
        tries: How many there were.
    """

    run: Run
    tries: int = 1


def attempts(
    context: Context,
    members: Sequence[Member],
    epochs: int,
    on_steps: Callable[[int], None] = lambda steps: None,
    selection: Selection | None = None,
) -> Iterator[Attempt]:
    """Train members; one that raises or runs out of memory is tried again alone, after the others.

    Args:
        context: The task made ready.
        members: The configurations.
        epochs: Passes over the training data.
        on_steps: Told the member-steps done, for progress.
        selection: Leaves members behind on the way.

    Raises:
        UserCodeError: If reading the data raises.
    """
    failed: list[Run] = []
    trained = train_members(
        context.planner, members, context.data, epochs, on_steps, selection, context.weights.offer
    )
    for run in trained:
        if run.failure is None:
            yield Attempt(run)
        else:
            failed.append(run)
    for run in failed:
        yield _alone(context, run, epochs)


def _alone(context: Context, run: Run, epochs: int) -> Attempt:
    tries = 1
    while run.failure is not None and tries <= _AGAIN:
        (run,) = train_members(
            context.planner, [run.member], context.data, epochs, finished=context.weights.offer
        )
        tries += 1
    return Attempt(run, tries)


class CrashLoop:
    """Sees that every trial fails alike: then it is not the trials' numbers, and more of them will not help.

    Args:
        well: Whether some trial has gone well before.
    """

    def __init__(self, well: bool = False) -> None:
        self._well = well
        self._failures: list[Exception] = []

    @property
    def well(self) -> bool:
        """Whether any trial of this process has gone without raising."""
        return self._well

    def add(self, run: Run) -> None:
        """Take note of a trial's end.

        Raises:
            UserCodeError: If the first trials have all failed, and alike.
        """
        if run.failure is None:
            self._well = True
            return
        self._failures.append(run.failure)
        first = self._failures[:_ALIKE]
        if not self._well and len(first) == _ALIKE and len({_kind(error) for error in first}) == 1:
            raise raised(first[0], f"the first {_ALIKE} trials all failed alike, and the sweep stops: ")

    def raise_first(self) -> None:
        """Raise what the first trial raised that failed.

        Raises:
            UserCodeError: If one has.
        """
        if self._failures:
            raise raised(self._failures[0])


def raised(error: Exception, before: str = "") -> Exception:
    """Return an error of a trial as the one that ends a sweep, with its cause."""
    if isinstance(error, LrtuneError) and not isinstance(error, UserCodeError):
        return error
    said = UserCodeError(before + (str(error) if isinstance(error, UserCodeError) else _line(error)))
    said.__cause__ = error.__cause__ if isinstance(error, UserCodeError) else error
    return said


def _line(error: Exception) -> str:
    return f"{type(error).__name__} while training: {error}"


def _kind(error: Exception) -> tuple[type, str]:
    """Of two failures that are alike, at most the numbers in the message differ."""
    cause = error.__cause__ or error
    return type(cause), re.sub(r"[-+]?[\d.]+(e[-+]?\d+)?", "#", str(cause))
