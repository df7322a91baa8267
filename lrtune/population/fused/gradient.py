"""Losses and gradients of all members on one batch, as one program.

`vmap` runs the user's forward pass over the rows; the members' losses are added up, and one ordinary backward pass of
the sum gives each row its own gradient, since no row depends on another. Most of what that costs on a small model is
dispatching, so the whole is recorded once per shape of batch and played again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, vmap

from lrtune.data.nest import leaves_of, map_nest, tensors_of
from lrtune.population.forward import run_batch
from lrtune.population.fused.batched import batched
from lrtune.population.fused.tape import NotTapeableError, record
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from lrtune.population.fused.stack import Stack
    from lrtune.task import Task

Tensors = dict[str, torch.Tensor]
_Played = Callable[[Sequence[torch.Tensor]], list[torch.Tensor | None]]
_RECORDED_AT = 3  # appearance of a shape of batch: the short one that ends an epoch is not worth it at once

_PLAIN = (bool, int, float, str, type(None))


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

    def __init__(
        self, task: Task, stack: Stack, traced: bool = True, recorded_at: int = _RECORDED_AT
    ) -> None:
        self._stack = stack
        self._stepping = _Stepping(task, stack.model)
        self._traced = traced
        self._recorded_at = recorded_at
        self._seen: dict[Any, int] = {}
        self._tapes: dict[Any, _Played | None] = {}

    def __call__(self, batch: Any, stacked: bool) -> tuple[torch.Tensor, Sequence[torch.Tensor | None]]:
        """Return the losses, `[members]`, and the gradient of each trained tensor, `[members, *shape]` or None.

        Args:
            batch: One batch for all members, or with `stacked` theirs in a first dimension.
            stacked: Whether each member has a batch of its own.
        """
        stack = self._stack
        played = self._played(batch, stacked) if self._traced else None
        if played is None:
            return self._computed(stacked, stack.trained, stack.varied, stack.shared, batch)
        with torch.no_grad():
            losses, *gradients = played(_inputs(stack.trained, stack.varied, stack.shared, batch))
        assert losses is not None
        return losses, gradients

    def _played(self, batch: Any, stacked: bool) -> _Played | None:
        """Return what plays the program on such a batch; None as long as recording is not worth it."""
        shapes = ((one.shape, one.stride(), one.dtype) for one in tensors_of(batch))
        # What is no tensor is frozen into a tape: another number is another program.
        others = [leaf for leaf in leaves_of(batch) if not isinstance(leaf, torch.Tensor)]
        if not all(isinstance(leaf, _PLAIN) for leaf in others):
            return None
        key = (stacked, self._stack.members, *shapes, *map(repr, others))
        if key not in self._tapes:
            self._seen[key] = self._seen.get(key, 0) + 1
            if self._seen[key] < self._recorded_at:
                return None
            self._tapes[key] = self._recorded(stacked, batch)
        return self._tapes[key]

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

    def _recorded(self, stacked: bool, batch: Any) -> _Played | None:
        """Record the program on this batch; None where it depends on values.

        Recording runs it once: on copies of what it moves, and without drawing from anybody's stream.
        """
        trained, shared = self._stack.trained, self._stack.shared
        varied = self._stack.varied_copy()
        batch = map_nest(torch.clone, batch)

        def run() -> list[torch.Tensor | None]:
            losses, gradients = self._computed(stacked, trained, varied, shared, batch)
            return [losses, *gradients]

        try:
            with preserved():
                return record(run, _inputs(trained, varied, shared, batch))
        except NotTapeableError:
            return None


def _inputs(trained: Tensors, varied: Tensors, shared: Tensors, batch: Any) -> list[torch.Tensor]:
    return [*trained.values(), *varied.values(), *shared.values(), *tensors_of(batch)]
