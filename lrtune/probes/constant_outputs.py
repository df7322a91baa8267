"""What a model that ignores its input can say: the neutral output and the best constant one, for each kind of loss.

Everything is computed on the CPU in float64, which not every accelerator knows; only shapes and targets count.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Callable

_RARE = 1e-6  # share given to a class that the sample does not hold: its log must be finite
_LABELS = (torch.int64, torch.uint8)  # the integers that torch's cross-entropy takes as class indices
_SAME = 1e-3  # relative difference up to which a neutral loss is that of the mean over plain labels

Constants = tuple[torch.Tensor, torch.Tensor]


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


def fits_class_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the target can be class probabilities, `[batch, classes, ...]`."""
    return fits_same_shape(output, target) and output.ndim > 1


def fits_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the output can be probabilities of yes."""
    return fits_same_shape(output, target) and bool(((output >= 0) & (output <= 1)).all())


# --- constants: `(classes, pooled targets) -> neutral, best` -------------------------------------------------------


def class_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return logits `[classes]` for labels `[labels]` or probabilities `[labels, classes]`."""
    target = target.cpu()
    if target.is_floating_point():
        shares = target.double().mean(0)
    else:
        target = target.long()
        counts = torch.bincount(target[(target >= 0) & (target < classes)], minlength=classes).double()
        shares = counts / counts.sum().clamp(min=1)
    return torch.zeros(classes, dtype=torch.float64), (shares + _RARE).log()


def log_probability_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return the same as log-probabilities."""
    neutral, best = class_constants(classes, target)
    return neutral.log_softmax(0), best.log_softmax(0)


def binary_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return logits `[1, ...]` for targets `[examples, ...]`."""
    share = target.cpu().double().mean(0, keepdim=True).clamp(_RARE, 1 - _RARE)
    return torch.zeros_like(share), share.logit()


def probability_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return the same as probabilities."""
    neutral, best = binary_constants(classes, target)
    return neutral.sigmoid(), best.sigmoid()


def mean_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return zero and the targets' mean, `[1, ...]`."""
    mean = target.cpu().double().mean(0, keepdim=True)
    return torch.zeros_like(mean), mean


def median_constants(classes: int, target: torch.Tensor) -> Constants:
    """Return zero and the targets' median, `[1, ...]`."""
    median = target.cpu().double().median(0, keepdim=True).values
    return torch.zeros_like(median), median


# --- what outputs of standard deviation σ explain: `(classes, high, σ) -> loss` -----------------------------------
# Each is a multiple of the neutral output's loss, so that it holds for a sum over the batch, too.


def softmax_at(classes: int, high: float, std: float) -> float:
    """Return E[logsumexp - logit] over Gaussian logits to second order: ln C + σ²/2 (1 - 1/C)."""
    classes = max(classes, 2)
    return high * (1 + 0.5 * std**2 * (1 - 1 / classes) / math.log(classes))


def binary_at(classes: int, high: float, std: float) -> float:
    """Return ln 2 + σ²/8: the second derivative of the softplus at 0 is 1/4."""
    return high * (1 + std**2 / 8 / math.log(2))


def square_at(classes: int, high: float, std: float) -> float:
    """Return the bound by the triangle inequality for the root mean squares of target and output."""
    return high * (1 + std) ** 2


def absolute_at(classes: int, high: float, std: float) -> float:
    """Return the bound by the triangle inequality."""
    return high * (1 + std)


# --- in words: `(classes, low, high) -> text` ---------------------------------------------------------------------


def _neutral_text(classes: int, high: float) -> str:
    """Return "ln C = high"; the number alone where a sum or weights make it another one."""
    plain = math.log(classes) if classes else 0.0
    return f"ln {classes} = {high:.3f}" if abs(high - plain) <= _SAME * plain else f"{high:.4g}"


def class_text(name: str) -> Callable[[int, float, float], str]:
    """Return the text of a loss over classes."""
    return lambda classes, low, high: (
        f"{_neutral_text(classes, high)} for {name} over {classes} classes (the labels' entropy is {low:.3f})"
    )


def binary_text(what: str) -> Callable[[int, float, float], str]:
    """Return the text of a binary loss, whose neutral output is `what`."""
    return lambda classes, low, high: (
        f"{_neutral_text(2, high)} for {what} (the labels' entropy is {low:.3f})"
    )


def square_text(classes: int, low: float, high: float) -> str:
    """Return the text of squared error."""
    return f"the variance of the target, {low:.4g}, for squared error ({high:.4g} at an output of zero)"


def constant_text(name: str) -> Callable[[int, float, float], str]:
    """Return the text of another error."""
    return lambda classes, low, high: (
        f"{low:.4g} for the best constant output, {high:.4g} for zero, with {name}"
    )
