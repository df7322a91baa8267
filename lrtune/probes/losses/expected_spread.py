"""What outputs of a given spread explain of an initial loss, and what theory expects in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_SAME = 1e-3  # relative difference up to which a neutral loss is that of the mean over plain labels

# --- what outputs of standard deviation σ explain: `(classes, high, σ, mean target) -> loss` ----------------------
# Each is a multiple of the neutral output's loss, so that it holds for a sum over the batch, too.


def softmax_at(classes: int, high: float, std: float, mean: float = 0.0) -> float:
    """Return E[logsumexp - logit] over Gaussian logits to second order: ln C + σ²/2 (1 - 1/C)."""
    classes = max(classes, 2)
    return high * (1 + 0.5 * std**2 * (1 - 1 / classes) / math.log(classes))


def binary_at(classes: int, high: float, std: float, mean: float = 0.0) -> float:
    """Return ln 2 + σ²/8: the second derivative of the softplus at 0 is 1/4."""
    return high * (1 + std**2 / 8 / math.log(2))


def square_at(classes: int, high: float, std: float, mean: float = 0.0) -> float:
    """Return the bound by the triangle inequality for the root mean squares of target and output."""
    return high * (1 + std) ** 2


def absolute_at(classes: int, high: float, std: float, mean: float = 0.0) -> float:
    """Return the bound by the triangle inequality."""
    return high * (1 + std)


def count_at(classes: int, high: float, std: float, mean: float = 0.0) -> float:
    """Return E[exp(σz)] for Poisson's log-rates, and what outputs σ too low cost at the targets' mean."""
    return high * (math.exp(std**2 / 2) + std * mean)


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


def count_text(name: str) -> Callable[[int, float, float], str]:
    """Return the text of a loss of counts."""
    return lambda classes, low, high: f"{low:.4g} for the mean rate, {high:.4g} for a rate of 1, with {name}"
