"""The serial execution: any model, any optimizer, one member after the other on the same batches."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import TaskError, UserCodeError, user_code
from lrtune.population.blocks import BLOCK_STEPS, next_block, one_at_a_time
from lrtune.population.evaluation import evaluate_model, gathered
from lrtune.population.failures import freed
from lrtune.population.forward import run_batch
from lrtune.population.group_rates import GroupRates
from lrtune.population.own_outside import Outside, OwnOutside
from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Evaluation, Member, State


class SerialPopulation:
    """Members trained in turn, a block of batches at a time.

    Member k is trained bitwise as this loop trains it alone (on the CPU)::

        seed_everything(member.seed)
        model = task.model()
        optimizer = SGD(model.parameters(), lr=member.learning_rate, weight_decay=member.weight_decay)
        for batch in train.stream(member.order):
            optimizer.zero_grad()
            loss(model(input), target).backward()
            optimizer.step()

    because each member draws from a random stream of its own and the data from theirs, and finds behind the task's
    functions (a loss with a running scale) what it left there itself.

    Args:
        program: Model, loss and optimizer.
        members: What is trained.
        train: The training batches.
        splits: What `evaluate` measures on, by name.

    Raises:
        TaskError: If the task builds something that cannot be trained.
        UserCodeError: If the user's code raises.
    """

    def __init__(
        self, program: Program, members: Sequence[Member], train: Batches, splits: Mapping[str, Batches]
    ) -> None:
        self._program = program
        self._splits = splits
        self._resident = train.resident
        outside = Outside(program.task)
        self._slots = [_Slot(program, member, OwnOutside(outside)) for member in members]
        self._streams = {order: train.stream(order) for order in sorted({member.order for member in members})}

    @property
    def members(self) -> tuple[Member, ...]:
        """The members still there."""
        return tuple(slot.member for slot in self._slots)

    @property
    def failures(self) -> tuple[Exception | None, ...]:
        """What each member's user code raised, if anything."""
        return tuple(slot.failure for slot in self._slots)

    def advance(self, steps: int) -> torch.Tensor:
        """Train every member that has not stopped; see `Population.advance`.

        Raises:
            UserCodeError: If every member has failed: the fault is not one member's numbers.
        """
        losses = self.train(steps)
        if self._slots and all(self.failures):
            raise next(failure for failure in self.failures if failure is not None)
        return losses

    def train(self, steps: int) -> torch.Tensor:
        """Advance, and leave it to the caller to judge that all have failed: there may be others elsewhere."""
        losses = torch.full((len(self._slots), steps), math.nan, dtype=torch.float64)
        for order, stream in self._streams.items():
            rows = [row for row, slot in enumerate(self._slots) if slot.member.order == order]
            self._advance_together(rows, stream, losses)
        return losses

    def _advance_together(self, rows: list[int], stream: Iterator[Any], losses: torch.Tensor) -> None:
        done, steps = 0, losses.shape[1]
        while done < steps and not all(self._slots[row].stopped for row in rows):
            if self._resident and len(rows) == 1:  # cutting a batch from memory runs nobody's code
                count = min(BLOCK_STEPS, steps - done)
                part = losses[rows[0], done : done + count]
                self._slots[rows[0]].train(one_at_a_time(stream, count), part)
                done += count
                continue
            batches = next_block(stream, steps - done)
            for row in rows:
                self._slots[row].train(batches, losses[row, done : done + len(batches)])
            done += len(batches)

    def evaluate(self, split: str, training_mode: bool = False) -> Evaluation:
        """Measure every member on a split; see `Population.evaluate`."""
        batches = self._splits[split]
        rows = [slot.evaluate(batches, training_mode) for slot in self._slots]
        return gathered(rows)

    def keep(self, members: Sequence[int]) -> None:
        """Drop all others; see `Population.keep`."""
        self._slots = [self._slots[index] for index in members]

    def export(self, member: int) -> State:
        """Return one member's state_dict; see `Population.export`."""
        state = self._slots[member].model.state_dict()
        usual = torch.contiguous_format  # whatever order in memory it is trained in
        return {key: value.detach().clone(memory_format=usual).cpu() for key, value in state.items()}


class _Slot:
    """One member with its model, its optimizer, its random stream and its state outside the model."""

    def __init__(self, program: Program, member: Member, outside: OwnOutside) -> None:
        self.member = member
        self._outside = outside
        self.failure: Exception | None = None
        self._program = program
        self._diverged = False
        self._stream = RandomStream(member.seed)
        with self._stream:
            self.model = program.build_model()
        rate = member.rate_at(0)
        self._optimizer = program.build_optimizer(self.model, rate, member.weight_decay)
        fixed = program.fixed_groups if member.schedule else ()
        self._rates = GroupRates(self._optimizer, rate, fixed)
        self._steps_done = 0
        self._synchronous = program.device.type == "cpu"

    @property
    def stopped(self) -> bool:
        return self._diverged or self.failure is not None

    def train(self, batches: Iterable[Any], losses: torch.Tensor) -> None:
        """Take one step a batch, writing the losses; stop at the first that is not finite."""
        if self.stopped:
            return
        self.model.train()
        with self._stream, self._outside:
            try:
                self._train(batches, losses)
            except UserCodeError as error:
                self.failure = freed(error)

    def _train(self, batches: Iterable[Any], losses: torch.Tensor) -> None:
        if not self._synchronous:
            self._train_ahead(batches, losses)
            return
        for at, batch in enumerate(batches):
            value = self._step(batch).item()
            if not math.isfinite(value):
                self._diverged = True
                return
            losses[at] = value

    def _train_ahead(self, batches: Iterable[Any], losses: torch.Tensor) -> None:
        """Read the losses once a block: on an accelerator reading one waits for it."""
        waiting: list[torch.Tensor] = []
        try:
            for batch in batches:
                waiting.append(self._step(batch).clone())
        except UserCodeError:
            with suppress(UserCodeError):  # an accelerator that has failed hands out nothing more
                self._read(waiting, losses)
            if not self._diverged:  # a failure after a divergence is a step that was not to be taken
                raise
            return
        self._read(waiting, losses)

    def _read(self, waiting: list[torch.Tensor], losses: torch.Tensor) -> None:
        if not waiting:
            return
        with user_code(f"training on {self._program.device}"):  # what failed there shows itself here
            values = torch.stack(waiting).cpu().double()  # in this order: MPS knows no float64
        finite = torch.isfinite(values).long().cumprod(0).bool()
        losses[: len(values)][finite] = values[finite]
        self._diverged = not bool(finite.all())

    def _step(self, batch: Any) -> torch.Tensor:
        self._rates.set(self.member.rate_at(self._steps_done))
        self._optimizer.zero_grad()
        loss = run_batch(self._program.task, self.model, batch).scalar
        if not loss.requires_grad:
            raise TaskError(
                "Task.loss: the loss does not depend on any parameter that requires a gradient, so nothing can be "
                "trained; look for .detach(), .item(), torch.no_grad() or frozen parameters"
            )
        with user_code("backpropagating the loss"):
            loss.backward()  # type: ignore[no-untyped-call]
        with user_code("stepping the optimizer"):
            self._optimizer.step()
        self._steps_done += 1
        return loss.detach()

    def evaluate(self, batches: Batches, training_mode: bool) -> tuple[float, dict[str, float]]:
        if self.stopped:
            return math.nan, {}
        # Dropout in training mode draws numbers: from the evaluation's stream, or evaluating would change training.
        with RandomStream(self.member.seed), self._outside.lent():
            try:
                return evaluate_model(self._program.task, self.model, batches, training_mode)
            except UserCodeError as error:
                self.failure = freed(error)
                return math.nan, {}
