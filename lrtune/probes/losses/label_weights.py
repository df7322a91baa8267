"""What each label counts in a cross-entropy, read off the loss's gradient.

The gradient of w·cross-entropy with respect to a row of logits is w (softmax - one-hot), so that a step which masks,
weights and averages by its own code still tells the weight w of every label. Those of a mean add up to 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses import constant_outputs as constant
from lrtune.probes.losses.binary_weights import answer_reading, fits_answers
from lrtune.probes.losses.weight_reading import Reading, gradient_at

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample

_FIT = 1e-3  # of the gradient: what float32 leaves unexplained
_ROWS = 4096  # labels looked at at a time: a copy of a language model's logits may not fit into memory
_CERTAIN = 1e-6  # distance of an answer from its label where float32 leaves nothing to divide by


@dataclass(frozen=True)
class LabelWeights:
    """The labels of one batch as the loss counts them.

    Attributes:
        total: Sum of the weights: 1 for a mean, the number of labels for a sum. Answers of yes and no are all taken
            at the weight of a no, which pos_weight does not change.
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
    """Measure the first batch; None where its gradient is not that of a weighted cross-entropy."""
    outcome = sample.run(sample.model, sample.batches[0], training=True, graph=True)
    found = weights_of(outcome)
    if found is None and fits_answers(outcome):
        # Outputs of a head that begins at zero are alike, and their gradients fit any loss.
        found = _answer_weights(sample.run(sample.awake, sample.batches[0], training=True, graph=True))
    # A sum in a loss function shows when the batch is repeated; only what it leaves out does not.
    hidden = found is not None and sample.program.task.step is None and found.counted == found.labels
    return None if hidden else found


def weights_of(outcome: Outcome) -> LabelWeights | None:
    """Return the weights of class labels in one outcome, which carries its graph."""
    seen = class_reading(outcome)
    if seen is None:
        return None
    counts, unknown = seen.counts, seen.weights.isnan()
    weights = seen.weights[counts]
    shares = torch.bincount(seen.labels[counts]).double() / int(counts.sum())
    entropy = float(torch.special.entr(shares).sum())
    # What cannot be told counts like the others: it must not look as if it were left out.
    total = float(weights.sum()) + float(weights.mean()) * int(unknown.sum())
    return LabelWeights(total, len(weights) + int(unknown.sum()), len(seen.labels), seen.classes, entropy)


def _answer_weights(outcome: Outcome) -> LabelWeights | None:
    seen = answer_reading(outcome)
    if seen is None:
        return None
    counts, unknown = seen.counts, seen.weights.isnan()
    told = {label: counts[seen.labels == label] for label in (0, 1)}
    if any(bool(told[label].all()) and not bool(told[1 - label].any()) for label in (0, 1)):
        return None  # a loss of the yes alone, or of the no
    of_no = seen.weights[counts & (seen.labels == 0)]
    usual = float((of_no if len(of_no) else seen.weights[counts]).mean())
    counted = int(counts.sum()) + int(unknown.sum())
    return LabelWeights(usual * counted, counted, len(seen.labels), 1, 0.0)


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
