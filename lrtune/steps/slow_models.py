"""What step 1 spares a slow model: whether it is one is the only thing that a clock decides.

Two runs of the same program must find the same. So there is one bound, far from what most models take, and beyond it
one fixed rule.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.forward import run_batch
from lrtune.population.modes import in_mode
from lrtune.random_state import seeded
from lrtune.steps.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.population.program import Program

# Below it, the loss of 16 batches in both modes and all examinations, some 20 passes of three forward passes' time
# each, end within 100 s: the budget of `lrtune check` is 120.
SLOW = 1.0  # seconds of a forward pass
FEWEST_BATCHES = 4  # a standard error needs several batch means


def forward_seconds(program: Program, model: torch.nn.Module, batch: Any, seed: int, first: float) -> float:
    """Return what a forward pass takes: a first one that seems slow is timed again, since it may have been loading.

    Args:
        program: The task made ready.
        model: That the first pass was of; its running statistics stay as they are.
        batch: Some batch.
        seed: For what the model draws.
        first: Seconds of the first pass.

    Raises:
        UserCodeError: If the model raises.
    """
    if first < SLOW:
        return first
    with seeded(seed), in_mode(model, training=True), torch.no_grad():
        watch = Stopwatch()
        run_batch(program.task, model, batch)
        return min(first, watch.seconds())


def affordable(batches: Sequence[Any], forward: float, note: Callable[[str], object]) -> Sequence[Any]:
    """Return the batches whose loss is measured: a few of them where the model is slow, and that is said.

    Args:
        batches: All there are.
        forward: Seconds of a forward pass.
        note: Told what is left out.
    """
    if forward < SLOW or len(batches) <= FEWEST_BATCHES:
        return batches
    note(
        f"a forward pass takes {forward:.2g} s: the loss is that of {FEWEST_BATCHES} batches instead of {len(batches)}"
    )
    return batches[:FEWEST_BATCHES]
