"""Whether the user's own batches come in the order of their targets.

A one-way analysis of variance of the targets over batches: eta squared is the share of their variance that lies
between batches. Chance alone gives (k - 1) / (n - 1) for k batches of n examples, with a standard deviation of about
sqrt(2 (k - 1)) / (n - 1). The same over a few long stretches of the epoch tells sorted data from batches that are
drawn from a few classes each, on purpose.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.data.loaded import IterableBatches
from lrtune.probes.data.target_place import rows_of, target_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.sample import Sample

_BATCHES = 1024  # read at most: what is found must not depend on the machine; their targets alone are kept
_EXAMPLES = 65_536  # likewise: sorted classes show in fewer
_SECONDS = 10.0  # a last resort where loading is very slow
_STRETCHES = 8  # of the epoch: sorted classes fill a few of them each, classes drawn for one batch none


@dataclass(frozen=True)
class Order:
    """The targets of an epoch's batches, in the order of training.

    Attributes:
        batches: How many were read.
        examples: In them.
        complete: Whether that was the whole epoch.
        between_batches: Share of the targets' variance between batches, chance taken off.
        between_stretches: The same between eight stretches of the epoch.
        stretches: How many of them, or the batches where these are fewer.
        significance: Of the larger one, in standard deviations of what chance gives.
    """

    batches: int
    examples: int
    complete: bool
    between_batches: float
    between_stretches: float
    stretches: int
    significance: float


def order(sample: Sample) -> Order | None:
    """Read an epoch of the user's own batches; None where lrtune shuffles, or where targets cannot be told."""
    read = target_reader(sample) if isinstance(sample.train, IterableBatches) else None
    if read is None:
        return None
    rows: list[torch.Tensor] = []
    numbers: list[torch.Tensor] = []
    started, complete, examples = time.perf_counter(), True, 0
    for batch in sample.train.epoch(sample.seed, 0):
        target = rows_of(read(batch))
        if target is None or (rows and target.shape[1] != rows[0].shape[1]):
            return None
        rows.append(target)
        numbers.append(read(batch).detach().cpu().double().reshape(len(target), -1).mean(1, keepdim=True))
        examples += len(target)
        enough = len(rows) >= _BATCHES or examples >= _EXAMPLES
        if enough or time.perf_counter() - started > _SECONDS:
            complete = False
            break
    # Labels that ascend show in their numbers, too, however many classes share a stretch.
    found = [seen for seen in (ordered(rows, complete), ordered(numbers, complete)) if seen]
    return max(found, key=lambda seen: (seen.between_stretches, seen.between_batches), default=None)


def ordered(rows: Sequence[torch.Tensor], complete: bool = True) -> Order | None:
    """Measure targets `[examples, columns]`, one tensor a batch; None with fewer than two batches or one target."""
    count = sum(len(one) for one in rows)
    values = torch.cat(list(rows)).double()
    deviation = values.std(0) if count > 1 else torch.zeros(values.shape[1])
    varying = deviation > 0
    if (
        len(rows) < 2
        or count <= len(rows)
        or not bool(varying.any())
        or not bool(torch.isfinite(values).all())
    ):
        return None
    batch = torch.repeat_interleave(torch.arange(len(rows)), torch.tensor([len(one) for one in rows]))
    stretch = batch * _STRETCHES // len(rows) if len(rows) > _STRETCHES else batch
    values = values[:, varying] - values[:, varying].mean(0)
    # Numbers of several scales count alike; classes as often as they occur.
    values = values / deviation[varying] if values.shape[1] > 1 and not _labels(values) else values
    (fine, certain), (coarse, also) = _between(values, batch), _between(values, stretch)
    return Order(len(rows), count, complete, fine, coarse, min(len(rows), _STRETCHES), max(certain, also))


def _labels(values: torch.Tensor) -> bool:
    return all(len(column.unique()) == 2 for column in values.T)


def _between(values: torch.Tensor, group: torch.Tensor) -> tuple[float, float]:
    """Return epsilon squared (Kelley, 1935: eta squared without what chance gives), and its significance."""
    groups, count = int(group.max()) + 1, len(values)
    size = torch.bincount(group, minlength=groups).double()[:, None]
    sums = torch.zeros(groups, values.shape[1], dtype=torch.float64).index_add(0, group, values)
    explained = float((sums.square() / size).sum() / values.square().sum())
    chance, spread = (groups - 1) / (count - 1), math.sqrt(2 * (groups - 1)) / (count - 1)
    return (explained - chance) / (1 - chance), (explained - chance) / spread
