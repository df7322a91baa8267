"""The lowest losses that answers of a certain kind can reach: perfect ones, and perfect ones squeezed between 0 and 1.

A softmax before softmax cross-entropy over C classes stops at ln(1 + (C - 1)/e), reached by the one-hot answer; a
sigmoid before a binary logit at ln(1 + 1/e) where the answer is yes and ln 2 where it is no. A regression's perfect
answer is the target, whose loss need not be 0 (Poisson). The user's own loss is called on these answers, so that
class weights, smoothing and constants are in the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.probes.losses.loss_family import LossFamily, LossFunction

    Pairs = Sequence[tuple[Any, Any]]

_LOGITS = ("softmax cross-entropy", "binary cross-entropy with logits")
_LEAST_RATE = 1e-6  # of a count of 0, whose logarithm must be finite


def squashed_floor(family: LossFamily | None, loss: LossFunction | None, pairs: Pairs) -> float | None:
    """Return the mean loss of perfect answers between 0 and 1, None where the loss expects no logits.

    Args:
        family: Which loss it is.
        loss: The user's own; the family's reference stands in for a step's.
        pairs: Output, whose shape counts, and target of each batch.
    """
    if family is None or family.name not in _LOGITS:
        return None
    return _mean(loss or family.reference, family, pairs, _squashed)


def perfect_floor(family: LossFamily, loss: LossFunction | None, pairs: Pairs) -> float | None:
    """Return the mean loss of a regression's perfect answers; arguments as above."""
    return _mean(loss or family.reference, family, pairs, _perfect)


def _mean(
    loss: LossFunction,
    family: LossFamily,
    pairs: Pairs,
    answer: Callable[[LossFamily, torch.Tensor, torch.Tensor], torch.Tensor],
) -> float | None:
    reached = []
    for output, target in pairs:
        if not family.fits(output, target):
            return None
        with torch.no_grad():
            try:
                reached.append(float(loss(answer(family, output, target), target.clone())))
            except (
                Exception
            ):  # the user's code on outputs that no model of theirs gave: it may raise anything
                return None
    return sum(reached) / len(reached) if reached else None


def _perfect(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    logarithms = ("log_input", True) in family.given
    return (target.clamp(min=_LEAST_RATE).log() if logarithms else target.clone()).to(output.dtype)


def _squashed(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    if target.is_floating_point():
        return target.to(output.dtype).clone()
    dimension = family.dimension(output, target)
    assert dimension is not None
    classes = output.shape[dimension]
    labels = target.clamp(
        0, classes - 1
    ).reshape(  # an ignored label may be any number
        output.movedim(dimension, -1).shape[:-1]
    )
    return torch.zeros_like(output).scatter_(dimension, labels.long().unsqueeze(dimension), 1.0)
