"""A sample whose inputs belong to other examples: on it a model does no better than one that ignores its input.

What a model reaches there stands in for what ignoring the input reaches, where the loss is not known.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, map_nest
from lrtune.errors import LrtuneError
from lrtune.probes.initialisation import first_outcome
from lrtune.probes.sample_inputs import is_target

if TYPE_CHECKING:
    from lrtune.population.program import Program

_SHIFTS = 7  # one alone is chance: neighbours in a small batch may be alike or far apart

Change = Callable[[torch.Tensor], torch.Tensor]


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
        _changed(batch, target, inputs=functools.partial(_moved, by=by))
        for by in range(1, min(fewest, _SHIFTS + 1))
        for batch, target in zip(batches, targets, strict=True)
    ]
    other = _changed(batches[0], targets[0], targets=_first)
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


def _same(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def _moved(tensor: torch.Tensor, by: int) -> torch.Tensor:
    return tensor.roll(by, 0) if tensor.ndim else tensor


def _first(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:1].expand_as(tensor) if tensor.ndim else tensor


def _changed(batch: Any, target: Any, inputs: Change = _same, targets: Change = _same) -> Any:
    if isinstance(batch, list | tuple) and len(batch) == 2:
        pair = [map_nest(inputs, batch[0]), map_nest(targets, batch[1])]
        rebuild: Any = getattr(batch, "_make", type(batch))  # named tuples take their fields one by one
        return rebuild(pair)
    if not isinstance(batch, Mapping) or not isinstance(target, torch.Tensor):
        return None
    names = [name for name, value in batch.items() if is_target(value, target)]
    if len(names) != 1:
        return None
    return {name: map_nest(targets if name in names else inputs, value) for name, value in batch.items()}
