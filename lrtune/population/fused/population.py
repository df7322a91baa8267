"""Members trained as one program; see `Population` for what each method promises."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.blocks import BLOCK_STEPS, one_at_a_time
from lrtune.population.fused.forward import FusedOutcomes
from lrtune.population.fused.gradient import FusedGradient
from lrtune.population.fused.measured import MeasuredTogether
from lrtune.population.fused.merging import merged
from lrtune.population.fused.optimizer import optimizer_on_rows
from lrtune.population.fused.stack import Stack
from lrtune.population.row_optimizers import InstanceRows
from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Evaluation, Member, State


class FusedPopulation:
    """K members as rows of stacked tensors.

    Every number is what the serial execution gives, up to the rounding of batched kernels; random numbers that a
    forward pass draws (dropout) come from one stream for all members, each drawing its own.

    Args:
        program: Model, loss and optimizer.
        members: What is trained.
        train: The training batches.
        splits: What `evaluate` measures on, by name.
        traced: Whether to trace the program and replay it.

    Raises:
        CannotFuseError: If these members cannot be one program.
        TaskError: If the task builds something that cannot be trained.
        UserCodeError: If the user's code raises.
    """

    def __init__(
        self,
        program: Program,
        members: Sequence[Member],
        train: Batches,
        splits: Mapping[str, Batches],
        traced: bool = True,
    ) -> None:
        self._program = program
        self._splits = splits
        self._members = tuple(members)
        self._stack = Stack(program, members)
        self._gradient = FusedGradient(program.task, self._stack, traced)
        self._outcomes = FusedOutcomes(program.task, self._stack, traced)
        self._optimizer = optimizer_on_rows(program, self._stack, members)
        self._orders = sorted({member.order for member in members})
        self._streams = {order: train.stream(order) for order in self._orders}
        self._random = RandomStream(members[0].seed)
        self._steps_done = 0
        self._stopped = [False] * len(members)

    @property
    def members(self) -> tuple[Member, ...]:
        """The members still there."""
        return self._members

    @property
    def failures(self) -> tuple[Exception | None, ...]:
        """What a member's own optimizer raised; a forward pass that raises for one member's numbers is not fused."""
        if isinstance(self._optimizer, InstanceRows):
            return self._optimizer.failures
        return (None,) * len(self._members)

    def advance(self, steps: int) -> torch.Tensor:
        """Train all members; see `Population.advance`."""
        losses = self.train(steps)
        if self._members and all(self.failures):
            raise next(failure for failure in self.failures if failure is not None)
        return losses

    def train(self, steps: int) -> torch.Tensor:
        """Advance, and leave it to the caller to judge that all have failed: there may be others elsewhere."""
        self._stack.model.train()
        losses = torch.full((len(self._members), steps), math.nan, dtype=torch.float64)
        done = 0
        with self._random:
            while done < steps and not all(self._stopped):
                count = min(BLOCK_STEPS, steps - done)
                stream = zip(*self._streams.values(), strict=True)
                losses[:, done : done + count] = self._train(one_at_a_time(stream, count))
                done += count
        return losses

    def _train(self, block: Iterable[tuple[Any, ...]]) -> torch.Tensor:
        """Take a step a batch; return the losses, float64 `[members, steps]`, NaN from a divergence on."""
        rows = []
        for batches in block:
            stacked = len(batches) > 1
            found, gradients = self._gradient(self._merged(batches) if stacked else batches[0], stacked)
            rates = [member.rate_at(self._steps_done) for member in self._members]
            decays = [member.weight_decay for member in self._members]
            self._optimizer.step(gradients, rates, decays)
            self._steps_done += 1
            rows.append(self._without_failed(found))
        losses = torch.stack(rows, 1).cpu().double()
        for row in range(len(self._members)):
            lost = torch.nonzero(~torch.isfinite(losses[row])).flatten()
            if self._stopped[row]:
                losses[row] = math.nan
            elif len(lost):
                losses[row, int(lost[0]) :] = math.nan
                self._stopped[row] = True
        return losses

    def _without_failed(self, losses: torch.Tensor) -> torch.Tensor:
        """Return the losses, `[members]`, NaN where the member's optimizer has raised."""
        failures = self.failures
        if not any(failures):
            return losses
        failed = torch.tensor([failure is not None for failure in failures], device=losses.device)
        return losses.masked_fill(failed, math.nan)

    def _merged(self, batches: tuple[Any, ...]) -> Any:
        """Return one nest of each member's batch in a first dimension."""
        at = {order: index for index, order in enumerate(self._orders)}
        return merged([batches[at[member.order]] for member in self._members])

    def evaluate(self, split: str, training_mode: bool = False) -> Evaluation:
        """Measure every member on a split; see `Population.evaluate`."""
        measured = MeasuredTogether(self._program.task, self._splits[split], len(self._members))
        varied = self._stack.varied_copy()
        with RandomStream(self._members[0].seed):
            for batch in self._splits[split].in_order():
                measured.add(batch, self._outcomes(varied, batch, training_mode))
        return measured.result(self._stopped)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all others; see `Population.keep`."""
        if len(members) == len(self._members):
            return
        self._members = tuple(self._members[index] for index in members)
        self._stopped = [self._stopped[index] for index in members]
        self._stack.keep(members)
        self._optimizer.keep(members, list(self._stack.trained.values()))
        if not self._members:
            self._streams = {}

    def export(self, member: int) -> State:
        """Return one member's state_dict; see `Population.export`."""
        return {key: value.clone().cpu() for key, value in self._stack.state(member).items()}
