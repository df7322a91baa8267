"""Where in a batch the target stands, so that it can be read from batches that no model has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.forward import split_pair
from lrtune.probes.data.batch_parts import is_target

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_PASSES = 4  # of a step to learn targets, where those after them can be read by their place
_MOST_PASSES = 64  # where they cannot: batches may hold one example each
_LABELS = 64  # kinds of labels kept apart; further ones share a column


def target_reader(sample: Sample) -> Callable[[Any], Any] | None:
    """Return `batch -> target`, None where the target's place cannot be told.

    For a step's batches it is the one place of the first batch where the values of the step's own target stand.
    """
    if sample.program.task.loss is not None:
        return lambda batch: split_pair(batch)[1]
    target = sample.first.target
    if not isinstance(target, torch.Tensor):
        return None
    places = [place for place, leaf in _leaves(sample.batches[0]) if is_target(leaf, target)]
    return None if len(places) != 1 else lambda batch: _follow(batch, places[0])


def targets_of(sample: Sample) -> list[Any]:
    """Return the targets of the sample's first batches, of all where it costs no more than a few passes.

    A step is run to learn what it compares with; once it has proved to be what stands at one place of its batches, it
    is read from the batches after that, in the step's own type and shape. None entries where a step does not say.
    """
    if sample.program.task.loss is not None:
        return [split_pair(batch)[1] for batch in sample.batches]
    read, told = target_reader(sample), [sample.first.target]
    for batch in sample.batches[1:_MOST_PASSES]:
        if len(told) >= _PASSES and read is not None:
            break
        told.append(sample.run(sample.model, batch, training=True).target)
        read = read if read is not None and _alike(read(batch), told[-1]) else None
    later = [_as_told(read(batch), told[0]) for batch in sample.batches[len(told) :]] if read else []
    return [*told, *takewhile(lambda one: one is not None, later)]


def _alike(leaf: Any, told: Any) -> bool:
    return isinstance(told, torch.Tensor) and told.numel() > 0 and is_target(leaf, told)


def _as_told(leaf: Any, told: torch.Tensor) -> torch.Tensor | None:
    if not isinstance(leaf, torch.Tensor) or leaf.numel() == 0:
        return None
    if leaf.ndim == told.ndim:
        return leaf.to(told.dtype)
    fits = told.ndim > 0 and leaf.numel() % told[0].numel() == 0
    return leaf.to(told.dtype).reshape(-1, *told.shape[1:]) if fits else None


def _leaves(nest: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], torch.Tensor]]:
    if isinstance(nest, torch.Tensor):
        yield place, nest
    items = (
        nest.items()
        if isinstance(nest, Mapping)
        else enumerate(nest)
        if isinstance(nest, list | tuple)
        else ()
    )
    for key, item in items:
        yield from _leaves(item, (*place, key))


def _follow(nest: Any, place: tuple[Any, ...]) -> Any:
    """Return what stands at a place, None in a batch that has no such place."""
    try:
        for key in place:
            nest = nest[key]
    except (LookupError, TypeError):
        return None
    return nest


def rows_of(target: Any) -> torch.Tensor | None:
    """Return a target as one row of numbers an example, `[examples, columns]` in double precision on the CPU.

    Labels become columns of zeros and ones; an example of many numbers or labels is told by its mean.
    """
    if not isinstance(target, torch.Tensor) or target.ndim == 0 or target.numel() == 0 or target.is_complex():
        return None
    values = target.detach().cpu().reshape(target.shape[0], -1)
    if values.is_floating_point():
        values = values.double()
        return values if values.shape[1] <= _LABELS else values.mean(1, keepdim=True)
    counts = torch.zeros(len(values), _LABELS, dtype=torch.float64)
    share = torch.full(values.shape, 1 / values.shape[1], dtype=torch.float64)
    return counts.scatter_add_(1, values.long().remainder(_LABELS), share)
