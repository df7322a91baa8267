"""Whether the output for an example depends on its place in the batch.

A batch in another order must give the same outputs in that order. What moves with the place (positions added along the
batch, a table indexed by `arange(batch)`) depends on no other example, so that exchanging those does not show it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, tensors_of
from lrtune.probes.model.batch_mixing import (
    BatchMixing,
    batch_mixing,
    exchangeable,
    layouts,
    may_be_time_first,
    one_output_each,
    still,
)
from lrtune.probes.model.hidden_mixing import hidden_mixing
from lrtune.probes.model.louder import louder
from lrtune.probes.model.model_calls import Call, chosen, listening, plain_attention, root_mean_square

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from lrtune.probes.sample import Sample

_FEWEST = 6  # examples, where outputs are large: four of them change places
_CLEAR = 1e-2  # share from which nobody need look any closer
_LEAST = 1e-5  # share below which nothing is looked at further: rounding in a deep net


def dependence(sample: Sample) -> BatchMixing | None:
    """Measure what other examples do to an output, and where they do nothing, what its place does.

    Where no input does anything to the output, what happens inside is looked at; and where weights are small, a model
    in which they are not.
    """
    seen = batch_mixing(sample)
    if seen is not None and seen.share > _CLEAR:
        return seen
    found = [seen]
    if seen is None or seen.share <= _LEAST:
        hidden = None if seen is None or seen.graphs else hidden_mixing(sample)
        found.append(hidden or place_in_batch(sample))
    told = [one for one in found if one is not None]
    if seen is not None and not seen.graphs and max(one.share for one in told) <= _CLEAR:
        loud = louder(sample)
        enlarged = None if loud is None else batch_mixing(sample, loud)
        told += [] if enlarged is None else [enlarged]
    return max(reversed(told), key=lambda one: one.share, default=None)


def place_in_batch(sample: Sample) -> BatchMixing | None:
    """Put a batch in another order, None where its order may mean something or outputs are drawn."""
    batch = sample.few(_FEWEST)
    if example_count(batch) < _FEWEST or not exchangeable(sample, batch):
        return None
    if not sample.train.collated and any(map(_is_sorted, tensors_of(batch))):
        return None
    model = still(sample)
    seen = _moved(sample, model, batch, 0)
    if seen is None or seen[0] <= _LEAST:
        return None if seen is None else _told(sample, seen, batch)
    if not one_output_each(sample, model, batch):
        return None
    if not sample.train.collated and may_be_time_first(batch):
        columns = _moved(sample, model, batch, 1)
        if columns is None or columns[0] <= _LEAST:
            return None  # the second dimension has no order: that is where the examples are
    return _told(sample, seen, batch)


def _told(sample: Sample, seen: tuple[float, float, float], batch: Any) -> BatchMixing:
    name = type(sample.awake).__name__
    return BatchMixing(*seen, 0, example_count(batch), None, name, by_place=True)


def _is_sorted(tensor: torch.Tensor) -> bool:
    """Say whether this may be lengths by which a collation has sorted its batch."""
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool or len(tensor) < 2:
        return False
    steps = tensor.diff()
    return bool((steps <= 0).all() or (steps >= 0).all())


def _moved(sample: Sample, model: nn.Module, batch: Any, dimension: int) -> tuple[float, float, float] | None:
    """Return share, relative change and resolution of the call whose outputs move most, None where noise is drawn."""
    tensors = [one for one in tensors_of(batch) if one.ndim > dimension]
    count = tensors[0].shape[dimension]
    if count < 4:
        return None
    # The first and the last stay: programs that cut a sorted batch to its longest example look at those.
    order = [0, *range(2, count - 1), 1, count - 1]
    batch = chosen(batch, order, dimension)  # a program may know the batch itself; both orders are new to it
    own, again = (_calls(sample, model, batch, sample.seed + extra) for extra in (0, 1))
    other = _calls(sample, model, chosen(batch, order, dimension), sample.seed)
    if len(own) != len(again) or len(own) != len(other):
        return None
    found = [
        seen
        for one, two, moved in zip(own, again, other, strict=True)
        if _is_settled(one, two) and (seen := _between(one, moved, order, dimension)) is not None
    ]
    return max(found, default=None)


def _calls(sample: Sample, model: nn.Module, batch: Any, seed: int) -> list[Call]:
    calls: list[Call] = []
    with listening(model, calls), plain_attention():
        sample.run(model, batch, training=False, seed=seed)
    return calls


def _is_settled(one: Call, again: Call) -> bool:
    """Say whether a second call with other random numbers gives the same: noise keeps to its place."""
    if one.output is None or again.output is None or one.output.shape != again.output.shape:
        return False
    return torch.allclose(one.output, again.output, rtol=0, atol=_LEAST * root_mean_square(one.output))


def _between(
    one: Call, moved: Call, order: Sequence[int], dimension: int
) -> tuple[float, float, float] | None:
    if not _is_reordered(one.inputs, moved.inputs, order, dimension):
        return None
    if one.output is None or moved.output is None or one.output.shape != moved.output.shape:
        return None
    best: tuple[float, float, float] | None = None
    places = torch.tensor(order, device=one.output.device)
    for a, b in zip(
        layouts(one.output, len(order), dimension), layouts(moved.output, len(order), dimension), strict=True
    ):
        if not (a.isfinite().all() and b.isfinite().all()):
            return None
        change, distance = root_mean_square(a[places] - b), root_mean_square(a[places] - a)
        size = root_mean_square(a)
        if change == 0 or size == 0:
            return 0.0, 0.0, torch.finfo(a.dtype).eps
        share = change / distance if distance else float("inf")
        seen = share, change / size, torch.finfo(a.dtype).eps
        best = seen if best is None else min(best, seen)  # of two possible layouts the innocent one
    return best


def _is_reordered(
    one: list[torch.Tensor], moved: list[torch.Tensor], order: Sequence[int], dimension: int
) -> bool:
    """Say whether the model was given the same rows in another order: a step may draw noise for each place."""
    if not one or len(one) != len(moved) or one[0].ndim <= dimension:
        return False
    for a, b in zip(one, moved, strict=True):
        if a.shape != b.shape or (
            a.ndim >= 2 and a.shape[:2] == (len(order), len(order)) and a is not one[0]
        ):
            return False
        rows = a.ndim > dimension and a.shape[dimension] == len(order)
        wanted = a.index_select(dimension, torch.tensor(order, device=a.device)) if rows else a
        if not torch.equal(wanted, b):
            return False
    return one[0].shape[dimension] == len(order)
