"""What a population is: members that differ only in numbers, advanced side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch

State = Mapping[str, "torch.Tensor"]  # an ordinary state_dict


@dataclass(frozen=True)
class Member:
    """One configuration to train.

    Attributes:
        learning_rate: Constant, unless there is a schedule.
        weight_decay: As the optimizer's class understands it.
        seed: Of the initialisation, and of the random stream that dropout and the like draw from.
        order: Seed of the data order; members with the same order see the same batches.
        schedule: The rate of each step in place of `learning_rate`; its last value holds afterwards.
    """

    learning_rate: float
    weight_decay: float = 0.0
    seed: int = 0
    order: int = 0
    schedule: tuple[float, ...] = field(default=(), repr=False)

    def rate_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        return self.schedule[min(step, len(self.schedule) - 1)] if self.schedule else self.learning_rate


@dataclass(frozen=True)
class Evaluation:
    """How the members do on one split.

    Attributes:
        loss: Mean loss, float64 `[members]`; NaN for a member that has diverged or failed.
        metrics: Each metric, float64 `[members]`.
    """

    loss: torch.Tensor
    metrics: dict[str, torch.Tensor]


class Population(Protocol):
    """K members of one architecture in training.

    Whatever executes it, member k's numbers are those that training it alone with `torch.optim` gives.
    """

    @property
    def members(self) -> tuple[Member, ...]:
        """Those still there, in the order of every result."""

    @property
    def failures(self) -> tuple[Exception | None, ...]:
        """What the user's code raised in a member, one entry a member; such a member has stopped."""

    def advance(self, steps: int) -> torch.Tensor:
        """Train; return the minibatch losses, float64 `[members, steps]`, NaN from a divergence on."""

    def evaluate(self, split: str, training_mode: bool = False) -> Evaluation:
        """Measure on a split by name, in evaluation mode unless `training_mode`."""

    def keep(self, members: Sequence[int]) -> None:
        """Drop all but the members at these positions, and free what the others held."""

    def export(self, member: int) -> State:
        """Return a copy of one member's parameters and buffers, on the CPU."""
