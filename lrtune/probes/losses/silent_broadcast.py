"""Whether broadcasting pairs every example with every other one where nobody asked for pairs.

`[batch, 1]` beside `[batch]` becomes `[batch, batch]`, anywhere in a model, a step or a loss. Two runs with batches of
unusual sizes, which no other dimension has, tell such pairs from all else; see `PairWatch` for pairs that are meant.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.data.nest import example_count, first_rows, tensors_of
from lrtune.probes.data.target_shapes import blown_up
from lrtune.probes.losses.pair_watch import PairWatch
from lrtune.probes.model.hooks import uncompiled
from lrtune.probes.model.model_calls import one_row_each

if TYPE_CHECKING:
    from lrtune.probes.losses.pair_watch import Crossing
    from lrtune.probes.sample import Sample

_SIZES = (7, 11, 13, 5, 17, 9, 6)  # of a batch: few other dimensions are primes


def silent_broadcast(sample: Sample) -> Crossing | None:
    """Return the first place that pairs all examples by broadcasting, None where all is well or cannot be told.

    What the judgement of output and target alone finds is left to it.
    """
    batch = sample.batches[0]
    if not one_row_each(batch) or not (sample.train.collated or sample.train.batch_count != 1):
        return None
    taken = {size for tensor in tensors_of(batch) for size in tensor.shape[1:]}
    taken |= {size for parameter in sample.model.parameters() for size in parameter.shape}
    sizes = [size for size in _SIZES if size <= example_count(batch) and size not in taken][:2]
    if len(sizes) < 2:
        return None
    first = _crossings(sample, sizes[0])
    if not first:
        return None
    again = {
        one.line for one in _crossings(sample, sizes[1])
    }  # else another dimension happened to have that size
    lasting = [one for one in first if one.line in again]
    return None if not lasting or blown_up(sample) is not None else lasting[0]


def _crossings(sample: Sample, count: int) -> list[Crossing]:
    batch = first_rows(sample.batches[0], count)
    watch = PairWatch(count)
    with uncompiled(sample.model), watch:
        sample.run(sample.model, batch, training=True, graph=True)
    return watch.unmeant
