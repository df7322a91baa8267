"""What a benchmark of learning rates is made of: programs that learn, each with the settings it is run with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import lrtune


@dataclass(frozen=True)
class Case:
    """A program whose best learning rate is looked for.

    Attributes:
        name: Of the program.
        task: Builds it.
        config: Settings that it is run with, by the YAML's keys; batch size and epochs set the horizon.
        guess: The fixed rate that people take for the optimizer, which a suggestion has to beat; None if there is none.
    """

    name: str
    task: Callable[[], lrtune.Task]
    config: Mapping[str, Any] = field(default_factory=dict)
    guess: float | None = None
