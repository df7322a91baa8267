"""What each label counts in a step's softmax cross-entropy, read off the loss's gradient.

The gradient of w·cross-entropy with respect to a row of logits is w (softmax - one-hot), so that a step which masks,
weights and averages by its own code still tells the weight w of every label. Those of a mean add up to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses import constant_outputs as constant

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample

_FIT = 1e-3  # of the gradient: what float32 leaves unexplained
_ROWS = 4096  # labels looked at at a time: a copy of a language model's logits may not fit into memory
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
    layouts = {constant.class_dimension(output, target, last): last for last in (True, False)}
    for last in reversed(layouts.values()):
        if (found := _fitted(output.detach(), gradient, target, last)) is not None:
            return found
    return None


def _fitted(
    output: torch.Tensor, gradient: torch.Tensor, target: torch.Tensor, last: bool
) -> LabelWeights | None:
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
    weights, labels = torch.cat(found), labels[known].long()
    # A negative weight everywhere is a loss of the wrong sign, which is not this probe's to judge.
    if not whole or math.sqrt(left) > _FIT * math.sqrt(whole) or not bool(weights.max() > 0):
        return None
    counts = weights > _NONE * weights.max()
    shares = torch.bincount(labels[counts]).double() / int(counts.sum())
    entropy = float(torch.special.entr(shares).sum())
    return LabelWeights(float(weights.sum()), int(counts.sum()), target.numel(), logits.shape[1], entropy)


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
    weights = (rows * wanted).sum(1) / wanted.square().sum(1).clamp(min=torch.finfo(wanted.dtype).tiny)
    whole = float(rows.square().sum())
    left = float(rows.sub_(wanted.mul_(weights[:, None])).square_().sum())
    return weights, left, whole
