"""The momentum that multiplies a learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.population.program import Program


def momentum_of(program: Program, learning_rate: float, seed: int) -> float:
    """Return the momentum of the optimizer's first group, 0.0 where it has none.

    With momentum m a gradient goes on moving the weights in later steps, in all by rate / (1 - m) (Goh, "Why momentum
    really works", 2017).
    """
    with seeded(seed):
        group = program.build_optimizer(program.build_model(), learning_rate, 0.0).param_groups[0]
    momentum = group.get("momentum")
    return float(momentum) if isinstance(momentum, int | float) and 0 <= momentum < 1 else 0.0
