"""What a benchmark of the first two steps is made of: a healthy program and its twins with one planted fault each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import lrtune

TaskFactory = Callable[[], "lrtune.Task"]


@dataclass(frozen=True)
class Fault:
    """A twin: the healthy program with one fault.

    Attributes:
        name: What was planted, in a few words.
        codes: The right answers, the most exact first; any of them counts as a correct name.
        task: Builds the twin.
    """

    name: str
    codes: tuple[str, ...]
    task: TaskFactory


@dataclass(frozen=True)
class Case:
    """A healthy program with its twins.

    Attributes:
        name: Of the program.
        healthy: Builds it.
        faults: Its twins.
        config: Settings that the program would be run with, by the YAML's keys.
    """

    name: str
    healthy: TaskFactory
    faults: tuple[Fault, ...]
    config: Mapping[str, Any] = field(default_factory=dict)
