"""That no member of a stack knows of the others: neither of their values nor of what they draw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch

from lrtune.population.fused.comparison import UnlikeError, compare_tensors, place

if TYPE_CHECKING:
    from lrtune.population.fused.stack import Stack

Run = Callable[[], tuple[torch.Tensor, Sequence[torch.Tensor | None]]]  # losses and gradients of a batch

_DRAWS = 3  # a dropout of a few units may hit the same ones in all members


def check_isolation(stack: Stack, run: Run, allowed: float) -> None:
    """See that a member that has diverged disturbs no other; the first is lost.

    On an accelerator zeros stand for the divergence: where code checks for NaN there, it ends the process's use of it.

    Raises:
        UnlikeError: If it does.
    """
    varied = {name: one.clone() for name, one in stack.varied.items()}
    losses, gradients = run()
    wanted: list[torch.Tensor | None] = [losses.clone()]
    wanted += [None if one is None else one.clone() for one in gradients]
    with torch.no_grad():
        for name, one in stack.varied.items():
            one.copy_(varied[name])
        for one in (*stack.trained.values(), *stack.varied.values()):
            if one.is_floating_point() or one.is_complex():
                one[0] = torch.nan if one.device.type == "cpu" else 0.0
    try:
        losses, gradients = run()
    except UnlikeError as error:
        raise UnlikeError(f"a member that diverges would stop all others: {error}") from error
    for name, found, other in zip(["the loss", *stack.trained], [losses, *gradients], wanted, strict=True):
        if found is not None and other is not None:
            what = f"{place(name)} of a member changes with another's divergence and"
            compare_tensors(what, found[1:], other[1:], allowed)


def check_draws(stack: Stack, run: Run) -> None:
    """See that members of equal values draw different numbers, and others at each step; all become equal.

    Raises:
        UnlikeError: If they do not.
    """
    with torch.no_grad():
        for one in (*stack.trained.values(), *stack.varied.values()):
            one.copy_(one[-1:].clone().expand_as(one))
    losses = torch.stack([run()[0].clone() for _ in range(_DRAWS)])
    if bool((losses == losses[:, :1]).all()):
        raise UnlikeError("all members would draw the same random numbers")
    if bool((losses == losses[:1]).all()):
        raise UnlikeError("every step would draw the same random numbers")
