"""A sample whose inputs belong to other examples: on it a model does no better than one that ignores its input.

What a model reaches there stands in for what ignoring the input reaches, where the loss is not known.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.errors import LrtuneError
from lrtune.probes.data.batch_parts import with_parts
from lrtune.probes.initialisation import first_outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.program import Program

_SHIFTS = 7  # one alone is chance: neighbours in a small batch may be alike or far apart


def mismatched(
    program: Program, model: torch.nn.Module, batches: Sequence[Any], targets: Sequence[Any], seed: int
) -> list[Any] | None:
    """Return the batches with inputs moved on by one example, by two and so on; None where parts cannot be told.

    Args:
        program: The task on its device.
        model: A throwaway one, which tells whether the loss depends on what is taken for the target.
        batches: The sample.
        targets: What a step said that it compared with, None where it did not.
        seed: Of dropout's random stream.
    """
    fewest = min(map(example_count, batches))
    moved = [
        with_parts(batch, target, inputs=functools.partial(_moved, by=by))
        for by in range(1, min(fewest, _SHIFTS + 1))
        for batch, target in zip(batches, targets, strict=True)
    ]
    other = with_parts(batches[0], targets[0], targets=_first)
    if other is None or not moved or any(part is None for part in moved):
        return None
    try:
        with torch.no_grad():
            losses = [
                float(first_outcome(program, model, batch, seed).scalar) for batch in (batches[0], other)
            ]
    except LrtuneError:  # the step wants no such batch
        return None
    return moved if losses[0] != losses[1] else None  # an autoencoder's labels are no target


def _moved(tensor: torch.Tensor, by: int) -> torch.Tensor:
    return tensor.roll(by, 0) if tensor.ndim else tensor


def _first(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:1].expand_as(tensor) if tensor.ndim else tensor
