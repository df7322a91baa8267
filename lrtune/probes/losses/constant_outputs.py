"""What a model that ignores its input can say: the neutral output and the best constant one, for each kind of loss.

Everything is computed on the CPU in float64, which not every accelerator knows; only shapes and targets count.
"""

from __future__ import annotations

from typing import Any

import torch

from lrtune.probes.losses.loss_settings import setting, weights

_RARE = 1e-6  # share given to a class that the sample does not hold: its log must be finite
_LABELS = (torch.int64, torch.uint8)  # the integers that torch's cross-entropy takes as class indices
_UNSET = -100  # torch's ignore_index unless one is given: no class
_LEAST_RATE = 1e-6  # the logarithm of a mean count of zero must be finite

Constants = tuple[torch.Tensor, ...]


# --- layout -----------------------------------------------------------------------------------------------------


def class_dimension(output: torch.Tensor, target: torch.Tensor, last: bool = False) -> int | None:
    """Return which dimension of the output runs over classes: 1 as torch has it, or the last (language models).

    Args:
        output: `[batch, classes, ...]` or `[batch, ..., classes]`.
        target: Class indices, `[batch, ...]`.
        last: Which of the two where both fit: a context as long as the vocabulary.
    """
    if output.ndim == target.ndim + 1:
        rests = {1: output.shape[:1] + output.shape[2:], output.ndim - 1: output.shape[:-1]}
        fitting = [dimension for dimension, rest in rests.items() if rest == target.shape]
        if fitting:
            return fitting[-1] if last else fitting[0]
    if output.ndim == 2 and target.ndim == 2 and output.shape[0] == target.numel():
        return 1  # [batch * time, classes] against [batch, time]: flattened by the user's step
    return None


def flat_classes(
    output: torch.Tensor, target: torch.Tensor, last: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return `[labels, classes]` and `[labels]`."""
    dimension = class_dimension(output, target, last)
    assert dimension is not None
    return output.movedim(dimension, -1).reshape(-1, output.shape[dimension]), target.reshape(-1)


def fits_classes(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the target can be class indices of the output."""
    indices = target.dtype in _LABELS
    return output.is_floating_point() and indices and class_dimension(output, target) is not None


def fits_same_shape(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether both are real numbers of one shape."""
    return output.is_floating_point() and target.is_floating_point() and output.shape == target.shape


def fits_counts(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the target can be counts."""
    return output.is_floating_point() and output.shape == target.shape and bool((target >= 0).all())


def fits_class_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the target can be class probabilities, `[batch, classes, ...]`."""
    return fits_same_shape(output, target) and output.ndim > 1


def fits_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the output can be probabilities of yes."""
    return fits_same_shape(output, target) and bool(((output >= 0) & (output <= 1)).all())


# --- constants: `(classes, pooled targets, loss) -> neutral, candidates for the best` --------------------------------


def class_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return logits `[classes]` for labels `[labels]` or probabilities `[labels, classes]`.

    The best constant is the label prior; with class weights or label smoothing it is the prior as these change it.
    """
    target = target.cpu()
    if target.is_floating_point():
        shares = target.double().mean(0)
    else:
        target = target.long()
        ignored = setting(loss, "ignore_index", _UNSET)
        kept = target[(target >= 0) & (target < classes) & (target != ignored)]
        counts = torch.bincount(kept, minlength=classes).double()
        shares = counts / counts.sum().clamp(min=1)
    priors = [shares + _RARE]
    weight = weights(loss, "weight")
    if weight is not None and weight.shape == shares.shape:
        weighted = shares * weight.cpu().double()
        priors.append(weighted / weighted.sum().clamp(min=_RARE) + _RARE)
    if smoothing := setting(loss, "label_smoothing", 0.0):
        priors += [(1 - smoothing) * prior + smoothing / classes for prior in priors]
    return torch.zeros(classes, dtype=torch.float64), *(prior.log() for prior in priors)


def log_probability_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return the same as log-probabilities."""
    return tuple(row.log_softmax(0) for row in class_constants(classes, target, loss))


def binary_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return logits `[1, ...]` for targets `[examples, ...]`."""
    share = target.cpu().double().mean(0, keepdim=True).clamp(_RARE, 1 - _RARE)
    rows = torch.zeros_like(share), share.logit()
    weight = weights(loss, "pos_weight")
    if weight is None:
        return rows
    return *rows, (share.logit() + weight.cpu().double().clamp(min=_RARE).log()).expand_as(share)


def probability_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return the same as probabilities."""
    return tuple(row.sigmoid() for row in binary_constants(classes, target))


def mean_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return zero and the targets' mean, `[1, ...]`."""
    mean = target.cpu().double().mean(0, keepdim=True)
    return torch.zeros_like(mean), mean


def median_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return zero and the targets' median, `[1, ...]`."""
    median = target.cpu().double().median(0, keepdim=True).values
    return torch.zeros_like(median), median


def robust_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return zero, the targets' median and their mean: which is better depends on where the loss turns linear."""
    return *median_constants(classes, target), mean_constants(classes, target)[1]


def log_rate_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return zero (a rate of 1) and the logarithm of the targets' mean, `[1, ...]`."""
    mean = target.cpu().double().mean(0, keepdim=True).clamp(min=_LEAST_RATE)
    return torch.zeros_like(mean), mean.log()


def rate_constants(classes: int, target: torch.Tensor, loss: Any = None) -> Constants:
    """Return the same as rates."""
    return tuple(row.exp() for row in log_rate_constants(classes, target))
