"""What a model that ignores its input reaches.

A model that knows nothing yet can at best predict one constant. The expected loss at initialisation lies between
that of the best constant (for softmax cross-entropy the label prior, whose loss is the labels' entropy) and that of
the neutral output (zero logits, whose loss is ln C): Karpathy, "A Recipe for Training Neural Networks", 2019.
Both are computed by calling the loss itself on such outputs, batch by batch, so that class weights, label smoothing,
`ignore_index` and a sum over the batch are in the number.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.data.examples import joined

if TYPE_CHECKING:
    from lrtune.probes.losses.loss_family import LossFamily, LossFunction

Pairs = Sequence[tuple[Any, Any]]

_LEAST_BITS = 32  # of a floating-point type in which a loss has more than three digits


@dataclass(frozen=True)
class Expectation:
    """What the loss at initialisation should be.

    Attributes:
        low: Loss of the best constant output on these targets.
        high: Loss of the neutral output.
        text: In words, such as "ln 10 for softmax cross-entropy over 10 classes".
        at_spread: What the loss may reach when the outputs have a standard deviation of σ: of logits as such, of
            predictions as a multiple of the targets' root mean square.
        unbounded: Whether the loss may be negative, so that its size says nothing of what is little.
    """

    low: float
    high: float
    text: str
    at_spread: Callable[[float], float]
    unbounded: bool = False


def expectation(
    family: LossFamily, loss: LossFunction | None, pairs: Pairs, weights: Sequence[int] | None = None
) -> Expectation | None:
    """Return what a model that ignores its input would reach on these targets; None where it cannot be computed.

    Args:
        family: Which loss it is.
        loss: The user's own function of (output, target); the family's reference stands in when None.
        pairs: Output (whose shape counts) and target of each batch.
        weights: What each batch counts in the mean, such as its examples; all alike when None.
    """
    if not pairs or not all(_usable(family, *pair) for pair in pairs):
        return None
    output, target = pairs[0]
    dimension = family.dimension(output, target)
    classes = 2 if dimension is None else output.shape[dimension]
    pooled = _pooled(pairs, dimension)
    if pooled is None:
        return None
    called = loss or family.reference
    rows = family.constants(classes, pooled, called)
    if dimension is not None:
        shape = [-1 if index == dimension else 1 for index in range(output.ndim)]
        rows = tuple(row.reshape(shape) for row in rows)
    counts = list(weights) if weights is not None else [1] * len(pairs)
    reached = [_mean_loss(called, row, pairs, counts) for row in rows]
    known = [value for value in reached[1:] if value is not None and math.isfinite(value)]
    neutral = reached[0]
    if neutral is None or not math.isfinite(neutral) or not known:
        return None
    low, high = sorted((neutral, min(known)))
    return Expectation(
        low,
        high,
        family.describe(classes, low, high),
        functools.cache(functools.partial(_at_spread, family, classes, high, called, pairs, counts, pooled)),
        family.counts,
    )


def _at_spread(
    family: LossFamily,
    classes: int,
    high: float,
    loss: LossFunction,
    pairs: Pairs,
    weights: Sequence[int],
    pooled: torch.Tensor,
    std: float,
) -> float:
    """Return what outputs of a spread explain, for predictions at least what they explain in units of their own.

    Targets of a small scale do not make outputs of a usual scale wrong: predictions may also miss by σ itself.
    """
    if family.kind != "regression":
        return family.at_spread(classes, high, std, 0.0)
    explained = family.at_spread(classes, high, std, float(pooled.cpu().double().mean()))
    one = torch.ones((), dtype=torch.float64)
    sides = [_mean_loss(loss, sign * std * one, pairs, weights) for sign in (-1, 1)]
    finite = [side for side in sides if side is not None and math.isfinite(side)]
    return max(explained, sum(finite) / 2) if len(finite) == 2 else explained


def _usable(family: LossFamily, output: Any, target: Any) -> bool:
    tensors = isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)
    return tensors and family.fits(output, target)


def _pooled(pairs: Pairs, dimension: int | None) -> torch.Tensor | None:
    """Return all batches' targets as one: labels `[labels]`, probabilities `[labels, classes]`, others as they are."""
    targets = [target for _, target in pairs]
    if dimension is None:
        return joined(targets)
    if targets[0].is_floating_point():
        return joined([target.movedim(1, -1).reshape(-1, target.shape[1]) for target in targets])
    return joined([target.reshape(-1) for target in targets])


def _mean_loss(loss: LossFunction, row: torch.Tensor, pairs: Pairs, weights: Sequence[int]) -> float | None:
    """Return the mean over batches of the loss of a constant output, None where the loss refuses it."""
    values = []
    for output, target in pairs:
        value = _loss_of(loss, row, output, target)
        if value is None:
            return None
        values.append(value)
    total = sum(weights)
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total if total else None


def _loss_of(
    loss: LossFunction, row: torch.Tensor, output: torch.Tensor, target: torch.Tensor
) -> float | None:
    half = torch.finfo(output.dtype).bits < _LEAST_BITS
    for dtype in (torch.float32, output.dtype) if half else (output.dtype,):
        constant = row.to(dtype).to(output.device).expand(output.shape)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what it says of a constant is no news
                # Copies: what a loss does in place must not reach the next one.
                return float(loss(constant.clone(memory_format=torch.contiguous_format), target.clone()))
        except Exception:  # the user's code on outputs that no model of theirs gave: it may raise anything
            continue
    return None
