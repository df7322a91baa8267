"""Where in a batch the target stands, so that it can be read from batches that no model has seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.program import split_pair
from lrtune.probes.data.batch_parts import is_target

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

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
    for key in place:
        nest = nest[key]
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
