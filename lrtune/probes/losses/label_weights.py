"""What each label counts in a step's softmax cross-entropy, read off the loss's gradient.

The gradient of w·cross-entropy with respect to a row of logits is w (softmax - one-hot), so that a step which masks,
weights and averages by its own code still tells the weight w of every label. Those of a mean add up to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses import constant_outputs as constant

if TYPE_CHECKING:
    from lrtune.population.program import Outcome
    from lrtune.probes.sample import Sample

_FIT = 1e-3  # of the gradient: what float32 leaves unexplained
_NONE = 1e-7  # of the largest weight: a label that does not count


@dataclass(frozen=True)
class LabelWeights:
    """The labels of one batch as the loss counts them.

    Attributes:
        total: Sum of the weights: 1 for a mean, the number of labels for a sum.
        counted: How many labels have a weight.
        labels: How many there are.
        classes: Width of the output.
        entropy: Of the labels that count, in nats.
    """

    total: float
    counted: int
    labels: int
    classes: int
    entropy: float


def label_weights(sample: Sample) -> LabelWeights | None:
    """Measure the first batch of a step; None where its gradient is not that of a weighted cross-entropy."""
    if sample.program.task.step is None:
        return None
    return weights_of(sample.run(sample.model, sample.batches[0], training=True, graph=True))


def weights_of(outcome: Outcome) -> LabelWeights | None:
    """Return the weights in one outcome, which carries its graph."""
    output, target = outcome.output, outcome.target
    tensors = isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)
    if not tensors or not constant.fits_classes(output, target) or not outcome.loss.requires_grad:
        return None
    (gradient,) = torch.autograd.grad(outcome.scalar, output, allow_unused=True)
    if gradient is None:
        return None
    for last in (False, True):
        if (found := _fitted(output.detach(), gradient, target, last)) is not None:
            return found
    return None


def _fitted(
    output: torch.Tensor, gradient: torch.Tensor, target: torch.Tensor, last: bool
) -> LabelWeights | None:
    logits, labels = constant.flat_classes(output.float(), target, last)
    rows, _ = constant.flat_classes(gradient.float(), target, last)
    classes = logits.shape[1]
    known = (labels >= 0) & (labels < classes)
    if bool(rows[~known].any()):
        return None
    logits, rows, labels = logits[known], rows[known], labels[known].long()
    wanted = logits.softmax(1) - F.one_hot(labels, classes)
    weights = (rows * wanted).sum(1) / wanted.square().sum(1).clamp(min=torch.finfo(wanted.dtype).tiny)
    left = (rows - weights[:, None] * wanted).square().sum().sqrt()
    if not bool(rows.any()) or float(left) > _FIT * float(rows.square().sum().sqrt()):
        return None
    counts = weights > _NONE * weights.max()
    shares = torch.bincount(labels[counts], minlength=classes).double() / max(int(counts.sum()), 1)
    entropy = float(torch.special.entr(shares).sum())
    return LabelWeights(float(weights.sum()), int(counts.sum()), target.numel(), classes, entropy)
