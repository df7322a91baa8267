"""What each answer of yes or no counts in a binary cross-entropy, read off the loss's gradient.

The gradient of w·BCE with respect to a logit z is w (sigmoid(z) - y), with respect to a probability p it is
w (p - y) / (p (1 - p)). One equation for each answer fits any loss: it is a binary cross-entropy only if all answers
that count at all, and are alike in label (and column), have the same w at different outputs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses.weight_reading import Reading, gradient_at

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.population.forward import Outcome

_FIT = 1e-4  # of the gradient: what float32 leaves unexplained is 1e-6
_SPREAD = (
    0.02  # of outputs: a Brier score then leaves 1.4e-4 of the gradient unexplained, a squared error 0.01
)
_CERTAIN = 1e-6  # distance of an answer from its label where float32 leaves nothing to divide by
_COLUMNS = 256  # of a table of answers, each with weights of its own
_FEWEST = 8  # answers that count; fewer fit by chance


def fits_answers(outcome: Outcome) -> bool:
    """Say whether output and target can be scores and answers of yes and no, one of each."""
    output, target = outcome.output, outcome.target
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if not output.is_floating_point() or target.is_complex() or target.numel() != output.numel():
        return False
    alike = [size for size in output.shape if size > 1] == [size for size in target.shape if size > 1]
    return alike and bool(_known(target).any())


def answer_reading(outcome: Outcome) -> Reading | None:
    """Read the weight of each answer, None where the gradient is not that of a weighted binary cross-entropy."""
    if not fits_answers(outcome) or (gradient := gradient_at(outcome.scalar, outcome.output)) is None:
        return None
    target, output = outcome.target, outcome.output.detach()
    known = _known(target).flatten()
    if bool(gradient.flatten()[~known].any()):
        return None
    labels = torch.where(known, target.flatten().nan_to_num().double(), -1.0).long()
    columns = target.shape[-1] if target.ndim == 2 and target.shape[-1] <= _COLUMNS else 1
    flat, pull = output.flatten().double(), gradient.flatten().double()
    for wanted in _wanted(flat, labels):
        for width in sorted({1, columns}):
            weights = _fitted(flat, pull, wanted, labels, width)
            if weights is not None:
                return Reading(weights.float(), labels, 1)
    return None


def _known(target: torch.Tensor) -> torch.Tensor:
    return (target == 0) | (target == 1)


def _wanted(output: torch.Tensor, labels: torch.Tensor) -> Iterator[torch.Tensor]:
    """Yield what the gradient of the unweighted loss would be, for logits and for probabilities."""
    yield output.sigmoid() - labels
    if bool(((output >= 0) & (output <= 1)).all()):
        yield (output - labels) / (output * (1 - output)).clamp(min=1e-12)  # torch's own guard


def _fitted(
    output: torch.Tensor, pull: torch.Tensor, wanted: torch.Tensor, labels: torch.Tensor, columns: int
) -> torch.Tensor | None:
    """Return weights that depend on label and column alone, None where the gradient does not."""
    counted = (pull != 0) & (labels >= 0)
    if int(counted.sum()) < _FEWEST or float(output[counted].std()) < _SPREAD:
        return None
    groups = labels.clamp(min=0) * columns + torch.arange(len(labels), device=labels.device) % columns
    zeros = pull.new_zeros(2 * columns)
    products = zeros.index_add(0, groups[counted], (pull * wanted)[counted])
    squares = zeros.index_add(0, groups[counted], wanted[counted].square())
    weights = (products / squares.clamp(min=torch.finfo(squares.dtype).tiny))[groups] * counted
    left = (pull - weights * wanted)[counted].square().sum().sqrt()
    if float(left) > _FIT * math.sqrt(float(pull.square().sum())) or bool((weights < 0).any()):
        return None
    # An answer that is certain and right pulls by nothing: left out or not, it cannot be told.
    certain = (wanted.abs() < _CERTAIN) & ~counted & (labels >= 0)
    return weights.masked_fill(certain, float("nan"))
