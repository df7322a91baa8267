"""The weight of each class label, read off the gradient of a loss at the logits.

The gradient of w·cross-entropy with respect to a row of logits is w (softmax - one-hot).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses import constant_outputs as constant
from lrtune.probes.losses.weight_reading import Reading, gradient_at

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome

_FIT = 1e-3  # of the gradient: what float32 leaves unexplained
_ROWS = 4096  # labels looked at at a time: a copy of a language model's logits may not fit into memory
_CERTAIN = 1e-6  # distance of an answer from its label where float32 leaves nothing to divide by


def class_reading(outcome: Outcome) -> Reading | None:
    """Read the weight of each class label, None where the gradient is not that of a weighted cross-entropy."""
    output, target = outcome.output, outcome.target
    tensors = isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)
    if not tensors or not constant.fits_classes(output, target):
        return None
    gradient = gradient_at(outcome.scalar, output)
    if gradient is None:
        return None
    layouts = {constant.class_dimension(output, target, last): last for last in (True, False)}
    for last in reversed(layouts.values()):
        if (found := _fitted(output.detach(), gradient, target, last)) is not None:
            return found
    return None


def _fitted(output: torch.Tensor, gradient: torch.Tensor, target: torch.Tensor, last: bool) -> Reading | None:
    logits, labels = constant.flat_classes(output, target, last)
    rows, _ = constant.flat_classes(gradient, target, last)
    known = (labels >= 0) & (labels < logits.shape[1])
    found, left, whole = [], 0.0, 0.0
    for start in range(0, len(labels), _ROWS):
        part = slice(start, start + _ROWS)
        explained = _explained(logits[part], rows[part], labels[part], known[part])
        if explained is None:
            return None
        found.append(explained[0])
        left, whole = left + explained[1], whole + explained[2]
    weights = torch.zeros(len(labels), device=labels.device)
    weights[known] = torch.cat(found)
    # A negative weight everywhere is a loss of the wrong sign, which is not this probe's to judge.
    if not whole or math.sqrt(left) > _FIT * math.sqrt(whole) or not bool((weights > 0).any()):
        return None
    return Reading(weights, torch.where(known, labels.long(), -1), logits.shape[1])


def _explained(
    logits: torch.Tensor, rows: torch.Tensor, labels: torch.Tensor, known: torch.Tensor
) -> tuple[torch.Tensor, float, float] | None:
    """Return the weights of some labels, and the squares of what they leave of the gradient and of all of it.

    None where the loss looks at a row that has no label.
    """
    if bool(rows[~known].any()):
        return None
    rows, labels = rows[known].float(), labels[known].long()[:, None]
    wanted = logits[known].float().softmax(1)
    wanted.scatter_add_(1, labels, torch.full_like(wanted[:, :1], -1.0))
    squares = wanted.square().sum(1)
    weights = (rows * wanted).sum(1) / squares.clamp(min=torch.finfo(wanted.dtype).tiny)
    whole = float(rows.square().sum())
    left = float(rows.sub_(wanted.mul_(weights[:, None])).square_().sum())
    return weights.masked_fill(squares < _CERTAIN**2, float("nan")), left, whole
