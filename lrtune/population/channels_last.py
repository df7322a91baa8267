"""Convolutions whose weights lie in memory channel by channel, as their results then do: faster where kernels like it.

Only the order in memory differs, and with it the order of sums: every number is the usual one up to rounding, by
`fused/difference.py`'s tolerance (1e-3 in float32, of one pass from equal values; what is found is 1e-6). A model that
reads the order (a `view` of a convolution's result, dropout on maps) raises or gives others, which a comparison tells.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import map_nest
from lrtune.errors import LrtuneError, user_code
from lrtune.population.doubled import double, in_double
from lrtune.population.forward import run_batch
from lrtune.population.fused.comparison import (
    GRADIENT_FLOOR,
    LOSS_FLOOR,
    DifferentError,
    UnlikeError,
    compare_outcomes,
    compare_tensors,
    place,
)
from lrtune.population.fused.difference import largest, tolerance
from lrtune.population.fused.failing import first_line
from lrtune.population.fused.stack import write_row
from lrtune.population.modes import in_mode
from lrtune.population.own_outside import Outside, OwnOutside
from lrtune.random_state import RandomStream, preserved, seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.program import Program
    from lrtune.population.protocol import Member

_STEPS = 3
FORMAT_STEPS = (
    20  # of one member, that the comparison costs: three in each order, again in float64, evaluations
)


def laid_out(program: Program, channels_last: bool) -> Program:
    """Return the program with its models in this order in memory."""
    same = program.channels_last == channels_last
    return program if same else replace(program, channels_last=channels_last)


def convolves_images(program: Program) -> bool:
    """Say whether a program's models hold layers that the order matters to."""
    with preserved():
        model = program.build_model()
    return any(isinstance(module, nn.Conv2d | nn.ConvTranspose2d) for module in model.modules())


def why_not_channels_last(program: Program, member: Member, train: Batches) -> str | None:
    """Return in a line why a program's models cannot lie in memory channel by channel; None if they can.

    Three steps from equal values, each compared with the usual order's: loss, gradients, buffers; then an evaluation.
    Random states and what the task's functions remember are as before afterwards.
    """
    with preserved():
        batches = train.head(_STEPS, member.order)
        try:
            _compare(program, member, batches)
        except DifferentError as error:
            # Batch norms of few examples make much of the last bits; those of float64 are other ones.
            doubled = in_double(program) if program.precision != "bfloat16" else None
            same = doubled is not None and _same(doubled, member, map_nest(double, batches))
            return None if same else str(error)
        except (UnlikeError, LrtuneError) as error:
            return first_line(error.__cause__ or error)
    return None


def _same(program: Program, member: Member, batches: Sequence[Any]) -> bool:
    try:
        _compare(program, member, batches)
    except (UnlikeError, LrtuneError):
        return False
    return True


def _compare(program: Program, member: Member, batches: Sequence[Any]) -> None:
    outside = Outside(program.task)
    usual, other = (_Side(laid_out(program, order), member, OwnOutside(outside)) for order in (False, True))
    allowed = tolerance([*usual.model.parameters(), *usual.model.buffers()])
    optimizer = program.build_optimizer(usual.model, member.rate_at(0), member.weight_decay)
    for batch in batches:
        wanted = usual.backpropagated(batch)
        compare_tensors("the loss", other.backpropagated(batch), wanted, allowed, LOSS_FLOOR)
        _compare_models(other.model, usual.model, allowed)
        with user_code("stepping the optimizer"):
            optimizer.step()
        write_row(other.model, usual.tensors())
    found, expected = other.evaluated(batches[0]), usual.evaluated(batches[0])
    compare_outcomes(program.task, found, expected, allowed)


def _compare_models(found: nn.Module, wanted: nn.Module, allowed: float) -> None:
    other = dict(found.named_parameters())
    gradients = {name: one.grad for name, one in wanted.named_parameters() if one.grad is not None}
    floor = GRADIENT_FLOOR * max(map(largest, gradients.values()), default=0.0)
    for name, gradient in gradients.items():
        own = other[name].grad
        if own is None:
            raise UnlikeError(f"the gradient of {name} is there in one order only")
        compare_tensors(f"the gradient of {name}", own, gradient, allowed, floor)
    buffers = dict(found.named_buffers())
    for name, buffer in wanted.named_buffers():
        compare_tensors(place(name), buffers[name], buffer, allowed)


class _Side:
    """A member's model in one order, with a random stream and a state outside of its own."""

    def __init__(self, program: Program, member: Member, outside: OwnOutside) -> None:
        self._program, self._member, self._outside = program, member, outside
        self._stream = RandomStream(member.seed)
        with self._stream:
            self.model = program.build_model().train()

    def backpropagated(self, batch: Any) -> torch.Tensor:
        """Return the loss, having computed the gradients."""
        self.model.zero_grad()
        with self._stream, self._outside, user_code("backpropagating the loss"):
            loss = run_batch(self._program.task, self.model, batch).scalar
            loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def evaluated(self, batch: Any) -> Any:
        """Return what the model makes of a batch in evaluation mode."""
        with seeded(self._member.seed), self._outside.lent(), in_mode(self.model, False), torch.no_grad():
            return run_batch(self._program.task, self.model, batch)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Return parameters and buffers by name."""
        named = (*self.model.named_parameters(), *self.model.named_buffers())
        return {name: one.detach() for name, one in named}
