"""Whether a regression's targets lie where the model's outputs can get at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.data.target_values import tensors_or_none
from lrtune.probes.learning.bounds import output_bounds
from lrtune.probes.losses.compared import sees_differences

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_BATCHES = 4  # of the sample: three passes each
_BESIDE = 0.1  # of the targets' deviation: nearer to a bound than that a target is within it


@dataclass(frozen=True)
class Reach:
    """The range of the outputs, whatever the parameters, beside the targets.

    Attributes:
        low: The lower bound, minus infinity without one.
        high: The upper bound, infinity without one.
        by: The last function before the output, where it is one that bounds.
        outside: The share of the targets that lie outside.
        smallest: Target.
        largest: Target.
    """

    low: float
    high: float
    by: str | None
    outside: float
    smallest: float
    largest: float


def reach(sample: Sample) -> Reach | None:
    """Measure the range; None where the loss is no comparison of numbers, or where nothing bounds the outputs."""
    targets = tensors_or_none(sample.targets)
    if targets is None or not all(one.is_floating_point() for one in targets) or not _is_regression(sample):
        return None
    bounds = output_bounds(sample.program, sample.awake.state_dict(), sample.batches[:_BATCHES], sample.seed)
    if bounds is None or not bounds.settled:
        return None
    values = torch.cat([one.detach().flatten().cpu().double() for one in targets])
    if values.numel() < 2:
        return None
    margin = _BESIDE * float(values.std())
    outside = (values < bounds.low - margin) | (values > bounds.high + margin)
    share = float(outside.double().mean())
    return Reach(bounds.low, bounds.high, bounds.by, share, float(values.min()), float(values.max()))


def _is_regression(sample: Sample) -> bool:
    family, own = sample.family, sample.program.task.loss
    if family is not None:
        return family.kind == "regression" and not family.counts
    return own is not None and sees_differences(own, sample.first)
