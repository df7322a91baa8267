"""The momentum that multiplies a learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.population.program import Program


# They add past gradients up; others divide such a sum by its size.
_ACCUMULATING = (torch.optim.SGD, torch.optim.RMSprop)


def momentum_of(program: Program, learning_rate: float, seed: int) -> float:
    """Return the momentum by which the optimizer's first group multiplies its rate, 0.0 where it has none.

    With momentum m a gradient goes on moving the weights in later steps, in all by rate / (1 - m) (Goh, "Why momentum
    really works", 2017).
    """
    with seeded(seed):
        optimizer = program.build_optimizer(program.build_model(), learning_rate, 0.0)
    group = optimizer.param_groups[0]
    momentum = group.get("momentum")
    if not isinstance(optimizer, _ACCUMULATING) or not isinstance(momentum, int | float):
        return 0.0
    # Dampened, the sum is an average, and multiplies nothing.
    return float(momentum) if 0 <= momentum < 1 and not group.get("dampening") else 0.0
