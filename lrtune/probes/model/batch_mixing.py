"""Whether the output for an example depends on the other examples of its batch.

Two batches share a few examples; all the rest is one example's copies, another one in each batch. What changes in the
outputs for the shared examples came from the others. A permutation would not do: a mean over the batch survives it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import example_count, tensors_of
from lrtune.errors import LrtuneError
from lrtune.probes.model.graph_mixing import graph_count, graph_mixing
from lrtune.probes.model.model_calls import Call, chosen, farthest, one_row_each, recorded, root_mean_square
from lrtune.probes.model.module_rows import Place, first_mixing
from lrtune.probes.model.settled import has_statistics, settled

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_LEAST = 1e-5  # share below which nothing is looked at further: rounding in a deep net
_FEWEST = 5  # examples, where outputs are large: three that stay, and two others
_AGAIN = 0.1  # of the change: what the same batch twice may differ by before the change counts as noise


@dataclass(frozen=True)
class BatchMixing:
    """What other examples do to an example's output.

    Attributes:
        share: Change of the output for an example that stays, when the others are replaced, in units of the change
            for an example that is replaced; the largest over the examples that stay.
        relative: The same change in units of the outputs' root mean square.
        resolution: Of the output's type: the distance from 1 to the next number.
        example: The number of the example in the batch.
        count: Examples in the batch.
        place: The module in which it happens; None where it is the forward of the whole model, or not known.
        model: Class of the model.
        graphs: Whether the examples are graphs side by side, of which `example` was changed instead.
        edges: How many edges all join nodes of the first graphs, None where they do not.
        by_place: Whether examples were put in another order instead; `share` is then in units of their distance.
        hidden: Whether it shows in a module alone, whose change is then given: the output depends on no input at all.
    """

    share: float
    relative: float
    resolution: float
    example: int
    count: int
    place: Place | None
    model: str
    graphs: bool = False
    edges: int | None = None
    by_place: bool = False
    hidden: bool = False


def batch_mixing(sample: Sample, model: nn.Module | None = None) -> BatchMixing | None:
    """Measure the mixing, None where the batch's first dimension may be something else than examples.

    Args:
        sample: What is measured on.
        model: Another model than the one that is `still`.
    """
    batch = sample.few(_FEWEST)
    if not exchangeable(sample, batch):
        return _of_graphs(sample)
    model = still(sample) if model is None else model
    seen = _mixing(sample, model, batch, 0)
    if seen is None or seen[0] <= _LEAST:
        return None if seen is None else _told(sample, seen, batch, None)
    if _noisy(sample, model, batch, seen[1]) or not one_output_each(sample, model, batch):
        return None
    if not sample.train.collated and may_be_time_first(batch):
        columns = _mixing(sample, model, batch, 1)
        if columns is None or columns[0] <= _LEAST:
            return None  # the second dimension is independent: that is where the examples are
    one, other, _ = variants(batch, 0)
    place = first_mixing(sample, model, (one, other), [seen[3]], example_count(batch))
    return _told(sample, seen, batch, place)


def still(sample: Sample) -> nn.Module:
    """Return the model in evaluation mode, with the batch's statistics fixed in batch normalisations."""
    return settled(sample).eval() if has_statistics(sample.awake) else sample.awake


def _of_graphs(sample: Sample) -> BatchMixing | None:
    batch = sample.batches[0]
    if not any(graph_count(one) for one in tensors_of(batch)):
        return None
    seen = graph_mixing(sample, still(sample), batch)
    if seen is None:
        return None
    name = type(sample.awake).__name__
    told = seen.share, seen.relative, seen.resolution, seen.graph, seen.count, None, name
    return BatchMixing(*told, graphs=True, edges=seen.edges)


def _told(
    sample: Sample, seen: tuple[float, float, float, int], batch: Any, place: Place | None
) -> BatchMixing:
    return BatchMixing(*seen, example_count(batch), place, type(sample.awake).__name__)


def exchangeable(sample: Sample, batch: Any) -> bool:
    """Say whether examples can be exchanged; a graph's nodes, of which the first dimension may run, cannot."""
    count = example_count(batch)
    if count < 2 or not one_row_each(batch):
        return False
    if sample.train.collated:
        return True
    first, *others = _with_rows(batch)
    if any(tensor.ndim >= 2 and tensor.shape[:2] == (count, count) for tensor in others):
        return False  # adjacency
    if any(_groups(tensor) for tensor in [first, *others[:-1]]):
        return False
    return sample.train.batch_count != 1 and len(sample.train.head(2, sample.seed)) > 1


def _groups(tensor: torch.Tensor) -> bool:
    """Say whether these are numbers of the groups that rows belong to: integers that rise and repeat."""
    if tensor.ndim != 1 or tensor.is_floating_point() or tensor.dtype == torch.bool or len(tensor) < 3:
        return False
    steps = tensor.diff()
    return bool((steps >= 0).all() and (steps == 0).any()) and bool((tensor != tensor[0]).any())


def _with_rows(batch: Any) -> list[torch.Tensor]:
    return [tensor for tensor in tensors_of(batch) if tensor.ndim]


def may_be_time_first(batch: Any) -> bool:
    """Say whether the first dimension of every tensor may be time, and the second the examples."""
    shapes = [tensor.shape for tensor in _with_rows(batch)]
    return all(len(shape) >= 2 and shape[:2] == shapes[0][:2] for shape in shapes) and shapes[0][1] > 1


def variants(batch: Any, dimension: int) -> tuple[Any, Any, list[int]]:
    """Return two batches that share the examples of the given numbers and no other."""
    count = next(one.shape[dimension] for one in _with_rows(batch) if one.ndim > dimension)
    # Neither the first nor the last, which are what a wrong index as a rule takes for everyone.
    kept = sorted({1, count // 2, count - 2}) if count > 4 else [count // 2]
    first = next(row for row in range(count) if row not in kept)
    donors = first, farthest(batch, first, dimension)
    batches = [
        chosen(batch, [row if row in kept else donor for row in range(count)], dimension) for donor in donors
    ]
    return batches[0], batches[1], kept


def _mixing(
    sample: Sample, model: nn.Module, batch: Any, dimension: int
) -> tuple[float, float, float, int] | None:
    """Return share, relative change, resolution and example of the call that mixes most."""
    one, other, _ = variants(batch, dimension)
    # The model's own outputs: what a step makes of them may mix on purpose.
    (_, first), (_, second) = recorded(sample, model, one), recorded(sample, model, other)
    found = (_between(a, b, dimension) for a, b in zip(first, second, strict=False))
    return max((seen for seen in found if seen is not None), default=None)


def _between(one: Call, other: Call, dimension: int = 0) -> tuple[float, float, float, int] | None:
    """Compare the outputs of two calls for the rows that were the same in both."""
    same = _same_rows(one.inputs, other.inputs, dimension)
    if same is None or one.output is None or other.output is None or one.output.shape != other.output.shape:
        return None
    if not same.any() or same.all():
        return None
    best: tuple[float, float, float, int] | None = None
    for a, b in zip(
        layouts(one.output, len(same), dimension), layouts(other.output, len(same), dimension), strict=True
    ):
        if not (a.isfinite().all() and b.isfinite().all()):
            return None
        rows = (a - b).float().flatten(1).square().mean(1).sqrt()
        replaced, size = float(rows[~same].square().mean().sqrt()), root_mean_square(a)
        kept = torch.where(same, rows, torch.zeros_like(rows))
        change = float(kept.max())
        if change == 0 or size == 0:
            return 0.0, 0.0, torch.finfo(a.dtype).eps, 0
        share = change / replaced if replaced else float("inf")
        seen = share, change / size, torch.finfo(a.dtype).eps, int(kept.argmax())
        best = seen if best is None else min(best, seen)  # of two possible layouts the innocent one
    return best


def _same_rows(one: list[torch.Tensor], other: list[torch.Tensor], dimension: int) -> torch.Tensor | None:
    """Return which examples were given alike to both calls, None where the inputs are not one row each."""
    if not one or len(one) != len(other) or one[0].ndim <= dimension:
        return None
    count = one[0].shape[dimension]
    same = torch.ones(count, dtype=torch.bool, device=one[0].device)
    for index, (a, b) in enumerate(zip(one, other, strict=True)):
        if a.shape != b.shape or (index and a.ndim >= 2 and a.shape[:2] == (count, count)):
            return None
        if a.ndim > dimension and a.shape[dimension] == count:
            equal = (a == b).movedim(dimension, 0)
            same &= (equal.flatten(1).all(1) if equal.ndim > 1 else equal).to(same.device)
        elif not torch.equal(a, b):
            return None
    return same


def layouts(output: torch.Tensor, count: int, dimension: int) -> list[torch.Tensor]:
    """Return the output as `[examples, ...]`, twice where flattened rows may run either way."""
    if dimension:
        if output.ndim >= 2 and output.shape[1] == count:
            return [output.movedim(1, 0)]
        return (
            [output.reshape(-1, count, *output.shape[1:]).movedim(1, 0)] if len(output) % count == 0 else []
        )
    if len(output) == count:
        return [output[:, None] if output.ndim == 1 else output]
    by_example = output.reshape(count, -1, *output.shape[1:])
    return [by_example, output.reshape(-1, count, *output.shape[1:]).movedim(1, 0)]


def _noisy(sample: Sample, model: nn.Module, batch: Any, relative: float) -> bool:
    """Say whether the same batch twice differs about as much."""
    one, _, _ = variants(batch, 0)
    (_, first), (_, second) = recorded(sample, model, one), recorded(sample, model, one)
    for a, b in zip(first, second, strict=False):
        if a.output is not None and b.output is not None and a.output.shape == b.output.shape:
            size = root_mean_square(a.output)
            if root_mean_square(a.output - b.output) > _AGAIN * relative * size:
                return True
    return False


def one_output_each(sample: Sample, model: nn.Module, batch: Any) -> bool:
    """Say whether the output grows by rows with the batch, and in no other way as scores of pairs would."""
    count = example_count(batch)
    _, full = recorded(sample, model, batch)
    try:
        _, less = recorded(sample, model, chosen(batch, range(count - 1)))
    except LrtuneError:  # the batch's size is written into the program: pairs must be told by their shape
        return all(
            call.output is not None and (call.output.ndim < 2 or len(call.output) != call.output.shape[1])
            for call in full
        )
    # A step that cuts its batch into parts makes fewer calls of fewer examples: which belong together is not known.
    return len(full) == len(less) and all(map(_grows_by_rows, full, less))


def _grows_by_rows(full: Call, less: Call) -> bool:
    if full.output is None or less.output is None:
        return full.output is less.output
    rows = len(full.output) * len(less.inputs[0]) == len(less.output) * len(full.inputs[0])
    return rows and full.output.shape[1:] == less.output.shape[1:]
