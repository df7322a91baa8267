"""Losses and gradients of all members on one batch, as one program.

`vmap` runs the user's forward pass over the rows; the members' losses are added up, and one ordinary backward pass of
the sum gives each row its own gradient, since no row depends on another. Most of what that costs on a small model is
dispatching, so the whole is recorded once per shape of batch and played again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, vmap

from lrtune.data.nest import map_nest
from lrtune.population.forward import run_batch
from lrtune.population.fused.batched import batched
from lrtune.population.fused.tape import record
from lrtune.population.fused.tapes import RECORDED_AT, Played, Tapes, Tensors, inputs_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.fused.stack import Stack
    from lrtune.task import Task


class _Stepping(torch.nn.Module):
    """The task's loss on a batch as the forward pass of a module, which is what `functional_call` takes."""

    def __init__(self, task: Task, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Any) -> torch.Tensor:
        """Return the loss, a scalar."""
        return run_batch(self._task, self.model, batch).scalar


class FusedGradient:
    """Computes losses and gradients; the buffers are moved on as the members' own forward passes would.

    Args:
        task: Brings the loss.
        stack: The members.
        traced: Whether to record and play.
        recorded_at: The appearance of a shape of batch at which it is recorded.
    """

    def __init__(self, task: Task, stack: Stack, traced: bool = True, recorded_at: int = RECORDED_AT) -> None:
        self._stack = stack
        self._stepping = _Stepping(task, stack.model)
        self._tapes = Tapes(recorded_at if traced else None)

    def __call__(self, batch: Any, stacked: bool) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
        """Return the losses, `[members]`, and the gradient of each trained tensor, `[members, *shape]` or None.

        Args:
            batch: One batch for all members, or with `stacked` theirs in a first dimension.
            stacked: Whether each member has a batch of its own.
        """
        stack = self._stack
        setting = (stacked, stack.members)
        played = self._tapes.tape_for(batch, setting, lambda: self._recorded(stacked, batch))
        if played is None:
            return self._computed(stacked, stack.trained, stack.varied, stack.shared, batch)
        with torch.no_grad():
            losses, *gradients = played(inputs_of(stack.trained, stack.varied, stack.shared, batch))
        assert losses is not None
        return losses, gradients

    def _computed(
        self, stacked: bool, trained: Tensors, varied: Tensors, shared: Tensors, batch: Any
    ) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
        def loss_of(own: Tensors, other: Tensors, batch: Any) -> torch.Tensor:
            named = {f"model.{name}": tensor for name, tensor in {**own, **other, **shared}.items()}
            loss: torch.Tensor = functional_call(self._stepping, named, (batch,))
            return loss

        mapped = vmap(loss_of, in_dims=(0, 0, 0 if stacked else None), randomness="different")
        leaves = list(trained.values())
        with batched(leaves[0].device, stacked):
            losses = mapped(trained, varied, batch)
            gradients = torch.autograd.grad(losses.sum(), leaves, allow_unused=True)
        return losses.detach(), gradients

    def _recorded(self, stacked: bool, batch: Any) -> Played:
        """Record the program on this batch, which runs it once, on copies of what it moves."""
        trained, shared = self._stack.trained, self._stack.shared
        varied = self._stack.varied_copy()
        batch = map_nest(torch.clone, batch)

        def run() -> list[torch.Tensor | None]:
            losses, gradients = self._computed(stacked, trained, varied, shared, batch)
            return [losses, *gradients]

        return record(run, inputs_of(trained, varied, shared, batch))
