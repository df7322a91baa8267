"""What each error of a regression counts in a loss, read off the loss's gradient.

With the residual r = output - target the gradient of w·r² is 2wr, that of w|r| is w sign(r), and that of Huber's error
is w times r cut to an interval. One w for all residuals is a weighted sum of such errors: 1/N for a mean over N
numbers, 1 for their sum. It needs no second batch, so that graphs and other batches that cannot be cut are read, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses.weight_reading import gradient_at
from lrtune.probes.model.model_calls import one_row_each

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample

_FIT = 1e-3  # of the gradient: what float32 leaves unexplained; other errors leave 0.05 and more
_FEWEST = 8  # errors that count; fewer fit by chance
_SPREAD = 0.05  # deviation of the residuals' sizes, of their mean: alike ones fit every error


@dataclass(frozen=True)
class ErrorWeights:
    """The errors of one batch as the loss counts them.

    Attributes:
        kind: Of the error: "squared", "absolute" or "Huber".
        each: What an error counts: 1/N in a mean of N errors, 1 in a sum. Halved squares and the inside of Huber's
            error count half a square.
        counted: How many errors count.
    """

    kind: str
    each: float
    counted: int


def error_weights(sample: Sample) -> ErrorWeights | None:
    """Measure a batch that cannot be repeated by rows; None where the gradient is not that of equal weights."""
    if one_row_each(sample.batches[0]):
        return None  # what repeated batches show is told by them
    return weights_of_errors(sample.run(sample.awake, sample.batches[0], training=True, graph=True))


def weights_of_errors(outcome: Outcome) -> ErrorWeights | None:
    """Read one outcome, which carries its graph."""
    output, target = outcome.output, outcome.target
    if not isinstance(output, torch.Tensor) or not isinstance(target, torch.Tensor):
        return None
    if not (output.is_floating_point() and target.is_floating_point()) or not _alike(output, target):
        return None
    gradient = gradient_at(outcome.scalar, output)
    if gradient is None:
        return None
    pull = gradient.flatten().cpu().double()
    errors = (output.detach().flatten() - target.detach().flatten()).cpu().double()
    counted = (pull != 0) & errors.isfinite()
    sizes = errors[counted].abs()
    if len(sizes) < _FEWEST or float(sizes.std()) < _SPREAD * float(sizes.mean()):
        return None
    return _fitted(errors[counted], pull[counted])


def _alike(output: torch.Tensor, target: torch.Tensor) -> bool:
    return [size for size in output.shape if size > 1] == [size for size in target.shape if size > 1]


def _fitted(errors: torch.Tensor, pull: torch.Tensor) -> ErrorWeights | None:
    count = len(errors)
    if weight := _factor(pull, 2 * errors):
        return ErrorWeights("squared", weight, count)
    if weight := _factor(pull, errors.sign()):
        return ErrorWeights("absolute", weight, count)
    # The smallest errors lie inside of Huber's interval, the largest pull is that of all errors outside of it.
    inside = errors.abs().argsort()[: max(count // 10, 1)]
    slope, most = float((pull / errors)[inside].median()), float(pull.abs().max())
    if slope > 0 and (weight := _factor(pull, errors.clamp(-most / slope, most / slope))):
        return ErrorWeights("Huber", weight, count)
    return None


def _factor(pull: torch.Tensor, wanted: torch.Tensor) -> float | None:
    """Return by what the wanted gradient is multiplied, None where it is another one."""
    factor = float((pull * wanted).sum() / wanted.square().sum())
    left = float((pull - factor * wanted).norm())
    return factor if factor > 0 and left <= _FIT * float(pull.norm()) else None
