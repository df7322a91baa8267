"""Members trained in both executions side by side, each step of one compared with that of the other."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import LrtuneError, TaskError, user_code
from lrtune.population.forward import run_batch
from lrtune.population.fused.comparison import (
    GRADIENT_FLOOR,
    LOSS_FLOOR,
    UnlikeError,
    compare_outcomes,
    compare_tensors,
    compare_updates,
    place,
)
from lrtune.population.fused.difference import largest, tolerance
from lrtune.population.fused.failing import first_line, told
from lrtune.population.fused.forward import FusedOutcomes, outcomes_of
from lrtune.population.fused.gradient import FusedGradient
from lrtune.population.fused.held_state import HeldState, outside_holders, poisoned
from lrtune.population.fused.independence import check_draws, check_isolation
from lrtune.population.fused.merging import merged
from lrtune.population.fused.optimizer import optimizer_on_rows
from lrtune.population.fused.stack import CannotFuseError, Stack, write_row
from lrtune.population.fused.undrawn import Undrawn, shared_generators
from lrtune.population.modes import in_mode
from lrtune.random_state import RandomStream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from lrtune.population.program import Program
    from lrtune.population.protocol import Member


class Lockstep:
    """The same members in both executions.

    Args:
        program: Model, loss and optimizer.
        members: All of different numbers.
        traced: Whether the fused one records and plays.
        undrawn: What both run under.

    Raises:
        CannotFuseError: If the members cannot be stacked.
        LrtuneError: If a member trained alone fails.
    """

    def __init__(self, program: Program, members: Sequence[Member], traced: bool, undrawn: Undrawn) -> None:
        self._program = program
        self._members = members
        self._traced = traced
        self._stacked = len({member.order for member in members}) > 1
        self._models = [self._built(member) for member in members]
        self._optimizers = [
            program.build_optimizer(model, member.learning_rate, member.weight_decay)
            for model, member in zip(self._models, members, strict=True)
        ]
        _check_hooks(self._models[0])
        self._stack = _stack(program, members)
        self._stack.model.train()
        # The first step computes, as the first steps of a training do; the second records.
        self._gradient = FusedGradient(program.task, self._stack, traced, recorded_at=2)
        self._rows = self._fused(lambda: optimizer_on_rows(program, self._stack, members))
        self._tolerance = tolerance([*self._models[0].parameters(), *self._models[0].buffers()])
        self._held: HeldState | None = None
        self._undrawn = undrawn

    def _built(self, member: Member) -> torch.nn.Module:
        with RandomStream(member.seed):
            return self._program.build_model().train()

    def step(self, own: list[Any]) -> None:
        """Take a step in both on each member's batch and compare them; both go on from what the fused one gave.

        Raises:
            UnlikeError: If they differ.
        """
        before = {name: one.detach().clone() for name, one in self._tensors().items()}
        alone = self._alone(own)
        losses, gradients = self._together(own, self._undrawn)
        for row, model in enumerate(self._models):
            compare_tensors("the loss", losses[row], alone[row], self._tolerance, LOSS_FLOOR)
            self._compare_gradients(row, gradients)
            compare_updates(model, self._stack, row, before, self._tolerance)
        self._update(gradients)
        if self._held is None:
            self._held = HeldState(dict(self._models[0].named_modules()))

    def _tensors(self) -> dict[str, torch.Tensor]:
        return self._stack.trained | self._stack.varied

    def _alone(self, own: list[Any]) -> list[torch.Tensor]:
        losses = []
        for row, (model, batch) in enumerate(zip(self._models, own, strict=True)):
            held = HeldState(outside_holders(self._program.task), registered=True)
            generators = shared_generators()
            losses.append(self._backpropagated(model, batch))
            if generators != shared_generators():
                raise UnlikeError(
                    "a forward pass draws from Python's or NumPy's generator, which members would share"
                )
            # What is made at the first call stays; state would have changed at the second.
            if row and (changed := held.changed()):
                holder, name = changed[0]
                raise UnlikeError(f"{holder} changes its {name.strip('_')}, which members would share")
        return losses

    def _backpropagated(self, model: torch.nn.Module, batch: Any) -> torch.Tensor:
        model.zero_grad()
        with self._undrawn:
            loss = run_batch(self._program.task, model, batch).scalar
            if not loss.requires_grad:
                raise TaskError(
                    "Task.loss: the loss does not depend on any parameter that requires a gradient"
                )
            with user_code("backpropagating the loss"):
                loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _together(
        self, own: list[Any], drawing: AbstractContextManager[Any]
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
        def run() -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
            with drawing:
                return self._gradient(merged(own) if self._stacked else own[0], self._stacked)

        found: tuple[torch.Tensor, Sequence[torch.Tensor | None]] = self._fused(run)
        return found

    def _fused(self, run: Callable[[], Any]) -> Any:
        try:
            return run()
        except Exception as error:  # whatever torch has against batching this model
            raise UnlikeError(told(error, self._stack.model)) from error

    def _compare_gradients(self, row: int, gradients: Sequence[torch.Tensor | None]) -> None:
        parameters = dict(self._models[row].named_parameters())
        found = dict(zip(self._stack.trained, gradients, strict=True))
        sizes = [largest(one.grad) for one in parameters.values() if one.grad is not None]
        floor = GRADIENT_FLOOR * max(sizes)
        for name, gradient in found.items():
            wanted = parameters[name].grad
            what = f"the gradient of {name}"
            if gradient is None or wanted is None:
                if gradient is not None or wanted is not None:
                    raise UnlikeError(f"{what} is there in one execution only")
                continue
            compare_tensors(what, gradient[row], wanted, self._tolerance, floor)

    def _update(self, gradients: Sequence[torch.Tensor | None]) -> None:
        """Step both optimizers from equal values on equal gradients, and compare."""
        for row in range(len(self._members)):
            self._write(row)
        before = {name: one.detach().clone() for name, one in self._tensors().items()}
        rates = [member.learning_rate for member in self._members]
        self._fused(lambda: self._rows.step(gradients, rates, [one.weight_decay for one in self._members]))
        for row, (model, optimizer) in enumerate(zip(self._models, self._optimizers, strict=True)):
            parameters = dict(model.named_parameters())
            for name, gradient in zip(self._stack.trained, gradients, strict=True):
                parameters[name].grad = None if gradient is None else gradient[row].clone()
            with user_code("stepping the optimizer"):
                optimizer.step()
            compare_updates(model, self._stack, row, before, self._tolerance)
            self._write(row)

    def _write(self, row: int) -> None:
        write_row(self._models[row], self._stack.row(row))

    def check_attributes(self, own: list[Any]) -> None:
        """See that no layer remembers anything from pass to pass but in its buffers.

        A tensor that is written before it is read (an auxiliary loss, attention weights to look at) does no harm:
        one with NaN in its place shows which it is.

        Raises:
            UnlikeError: Naming what it is.
        """
        assert self._held is not None
        changed = self._held.changed()
        if not changed:
            return
        path, name = changed[0]
        layer = f"layer {path}" if path else "the model"
        reason = f"{layer}: forward changes the attribute '{name}', which members would share"
        if not poisoned(self._models[0], changed):
            raise UnlikeError(reason)
        loss = self._backpropagated(self._models[0], own[0])
        modules = dict(self._models[0].named_modules())
        left = [bool(torch.isnan(vars(modules[path])[name]).any()) for path, name in changed]
        if any(left) or not bool(torch.isfinite(loss)):
            raise UnlikeError(reason)
        self._write(0)

    def evaluate(self, batches: Sequence[Any], training_mode: bool) -> None:
        """Compare what both make of batches where nothing is trained.

        Raises:
            UnlikeError: If they differ.
        """
        # As a training does it: computed, recorded and played, and played on another batch.
        together = FusedOutcomes(self._program.task, self._stack, self._traced, recorded_at=2)
        for batch in batches:
            self._compare_outcomes(together, batch, training_mode)

    def _compare_outcomes(self, together: FusedOutcomes, batch: Any, training_mode: bool) -> None:
        task = self._program.task
        with self._undrawn:
            found = self._fused(lambda: together(self._stack.varied_copy(), batch, training_mode))
        for model, outcome in zip(self._models, outcomes_of(found, len(self._models)), strict=True):
            with self._undrawn, in_mode(model, training_mode), torch.no_grad():
                wanted = run_batch(task, model, batch)
            compare_outcomes(task, outcome, wanted, self._tolerance)

    def check_independence(self, own: list[Any]) -> None:
        """See that no member depends on another; the members' values are lost.

        Raises:
            UnlikeError: If one does.
        """
        check_isolation(self._stack, lambda: self._together(own, self._undrawn), self._tolerance)
        if self._undrawn.drawn:
            # One batch for all, or they would differ without drawing.
            alike = [own[0]] * len(own)
            check_draws(self._stack, lambda: self._together(alike, nullcontext()))


def _stack(program: Program, members: Sequence[Member]) -> Stack:
    try:
        return Stack(program, members)
    except (CannotFuseError, LrtuneError):
        raise
    except Exception as error:  # a kind of tensor that torch does not stack
        raise UnlikeError(f"the members' tensors cannot be stacked: {first_line(error)}") from error


def _check_hooks(model: torch.nn.Module) -> None:
    """See that no parameter has a hook, which its row would not call."""
    for name, one in model.named_parameters():
        if one._backward_hooks or getattr(one, "_post_accumulate_grad_hooks", None):
            raise UnlikeError(f"{place(name)} has a hook on its gradient, which would not be called")
