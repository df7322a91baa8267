"""The labels of a cross-entropy inside a step that returns its loss alone, read off the gradient at the outputs.

That gradient is w (softmax - one-hot): negative at the label alone. It is believed only where the weighted
cross-entropy of these labels is the step's whole loss, so that a sum of several parts is not taken for one of them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from lrtune.probes.losses import constant_outputs as constant
from lrtune.probes.losses.class_reading import class_reading
from lrtune.probes.losses.same_number import same
from lrtune.probes.losses.weight_reading import gradient_at

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome

_FEWEST = 3  # classes: answers of yes and no have other losses, too


def with_labels(outcome: Outcome) -> Outcome | None:
    """Return an outcome with the labels that its loss compares its output with; None where it is none of these.

    Args:
        outcome: With its output, which carries the graph, and no target.
    """
    output = outcome.output
    if outcome.target is not None or not isinstance(output, torch.Tensor) or output.ndim < 2:
        return None
    gradient = gradient_at(outcome.scalar, output)
    if gradient is None:
        return None
    for dimension in dict.fromkeys((output.ndim - 1, 1)):
        if output.shape[dimension] < _FEWEST:
            continue
        labels = gradient.argmin(dimension)
        labels = labels.where(gradient.abs().amax(dimension) > 0, -1)
        if _is_whole_loss(_like(outcome, gradient, labels), last=dimension != 1):
            return _like(outcome, gradient, labels)
    return None


def _like(outcome: Outcome, gradient: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """Return an outcome of the same number and gradient whose graph is new: each is gone after one backward pass."""
    output = outcome.output.detach().requires_grad_()
    linear = (gradient * output).sum()
    return replace(
        outcome, loss=linear + (outcome.scalar - linear).detach(), output=output, target=labels, metrics={}
    )


def is_cross_entropy(outcome: Outcome) -> bool:
    """Say whether a step's loss is a weighted cross-entropy of its output and target, and nothing besides.

    The gradient tells the weights; a term that does not depend on the outputs shows in the number alone.
    """
    output = outcome.output
    if not isinstance(output, torch.Tensor) or output.ndim < 2:
        return False
    return any(_is_whole_loss(outcome, last) for last in (True, False))


def _is_whole_loss(outcome: Outcome, last: bool) -> bool:
    seen = class_reading(outcome)
    if seen is None:
        return False
    logits, labels = constant.flat_classes(outcome.output.detach(), outcome.target, last)
    counts = seen.counts
    if counts.shape != labels.shape or logits.shape[1] != seen.classes:
        return False
    if not torch.equal(labels[counts].long(), seen.labels[counts]):
        return False
    right = logits[counts].float().log_softmax(1).gather(1, labels[counts, None].long())[:, 0]
    return same(-float((seen.weights[counts] * right).sum()), float(outcome.scalar.detach()))
