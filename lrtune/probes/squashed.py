"""The lowest loss that outputs between 0 and 1 can reach, where the loss expects logits.

For softmax cross-entropy over C classes that is ln(1 + (C - 1)/e), reached by the one-hot answer; for a binary logit
ln(1 + 1/e) where the answer is yes and ln 2 where it is no. The user's own loss is called on these answers, so that
class weights and smoothing are in the number.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.loss_family import LossFamily, LossFunction

_LOGITS = ("softmax cross-entropy", "binary cross-entropy with logits")


def squashed_floor(
    family: LossFamily | None, loss: LossFunction | None, pairs: Sequence[tuple[Any, Any]]
) -> float | None:
    """Return the mean loss of perfect answers between 0 and 1, None where the loss expects no logits.

    Args:
        family: Which loss it is.
        loss: The user's own; the family's reference stands in for a step's.
        pairs: Output, whose shape counts, and target of each batch.
    """
    if family is None or family.name not in _LOGITS:
        return None
    reached = []
    for output, target in pairs:
        answer = _answer(family, output, target)
        if answer is None:
            return None
        with torch.no_grad():
            try:
                reached.append(float((loss or family.reference)(answer, target.clone())))
            except (
                Exception
            ):  # the user's code on outputs that no model of theirs gave: it may raise anything
                return None
    return sum(reached) / len(reached) if reached else None


def _answer(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor | None:
    if not family.fits(output, target):
        return None
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
    return F.one_hot(labels.long(), classes).movedim(-1, dimension).to(output)
