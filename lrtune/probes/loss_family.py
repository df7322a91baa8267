"""Which loss this is, and what a model that ignores its input reaches with it.

A model that knows nothing yet can at best predict one constant. The expected loss at initialisation lies between
that of the best constant (for softmax cross-entropy the label prior, whose loss is the labels' entropy) and that of
the neutral output (zero logits, whose loss is ln C): Karpathy, "A Recipe for Training Neural Networks", 2019.
Both are computed by calling the loss itself on such outputs, so that class weights, label smoothing and
`ignore_index` are in the number.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_MATCH = 1e-4  # relative difference up to which two float32 losses are the same computation
_RARE = 1e-6  # share given to a class that the sample does not hold: its log must be finite


@dataclass(frozen=True)
class Expectation:
    """What the loss at initialisation should be.

    Attributes:
        low: Loss of the best constant output on these targets.
        high: Loss of the neutral output.
        text: In words, such as "ln 10 for softmax cross-entropy over 10 classes".
        at_spread: What the loss may reach when the outputs have a standard deviation of σ: of logits as such, of
            predictions as a multiple of the targets' root mean square.
    """

    low: float
    high: float
    text: str
    at_spread: Callable[[float], float]


@dataclass(frozen=True)
class LossFamily:
    """A loss that lrtune knows.

    Attributes:
        name: For messages.
        declared: Functions and modules of torch that are this loss.
        reference: The loss itself; outputs and targets in torch's layout.
        fits: Whether an output and a target can belong to it.
        constants: The neutral output and the best constant one for some targets, in the output's shape.
        describe: `(output, low, high) -> text`.
        at_spread: `(output, high, σ) -> loss` that outputs of standard deviation σ explain.
    """

    name: str
    declared: tuple[Any, ...]
    reference: LossFunction
    fits: Callable[[torch.Tensor, torch.Tensor], bool]
    constants: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
    describe: Callable[[torch.Tensor, float, float], str]
    at_spread: Callable[[torch.Tensor, float, float], float]


# --- classes ----------------------------------------------------------------------------------------------------


def class_dimension(output: torch.Tensor, target: torch.Tensor) -> int | None:
    """Return which dimension of the output runs over classes: 1 as torch has it, or the last (language models)."""
    if output.ndim == target.ndim + 1:
        if output.shape[:1] + output.shape[2:] == target.shape:
            return 1
        if output.shape[:-1] == target.shape:
            return output.ndim - 1
    if output.ndim == 2 and target.ndim == 2 and output.shape[0] == target.numel():
        return 1  # [batch * time, classes] against [batch, time]: flattened by the user's step
    return None


def _flat(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    dimension = class_dimension(output, target)
    assert dimension is not None
    return output.movedim(dimension, -1).reshape(-1, output.shape[dimension]), target.reshape(-1)


def _fits_classes(output: torch.Tensor, target: torch.Tensor) -> bool:
    return (
        output.is_floating_point()
        and target.dtype == torch.int64
        and class_dimension(output, target) is not None
    )


def _fits_class_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    return output.is_floating_point() and target.is_floating_point() and output.shape == target.shape


def _label_shares(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Return how often each class occurs, `[classes]`, and the class dimension of the output."""
    if target.is_floating_point():
        return target.movedim(1, -1).reshape(-1, output.shape[1]).mean(0).double(), 1
    dimension = class_dimension(output, target)
    assert dimension is not None
    classes = output.shape[dimension]
    valid = target[(target >= 0) & (target < classes)]
    counts = torch.bincount(valid.flatten(), minlength=classes).double()
    return counts / counts.sum().clamp(min=1), dimension


def _class_constants(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    shares, dimension = _label_shares(output, target)
    logits = (shares + _RARE).log()
    shape = [1] * output.ndim
    shape[dimension] = -1
    zeros = torch.zeros_like(output, dtype=torch.float64)
    return zeros, zeros + logits.to(output.device).reshape(shape)


def _log_probability_constants(
    output: torch.Tensor, target: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    zeros, prior = _class_constants(output, target)
    dimension = class_dimension(output, target) or 1
    return zeros.log_softmax(dimension), prior.log_softmax(dimension)


def _classes(output: torch.Tensor) -> int:
    return output.shape[1] if output.ndim <= 2 else max(output.shape[1], output.shape[-1])


# --- binary -----------------------------------------------------------------------------------------------------


def _fits_same_shape(output: torch.Tensor, target: torch.Tensor) -> bool:
    return output.is_floating_point() and target.is_floating_point() and output.shape == target.shape


def _fits_probabilities(output: torch.Tensor, target: torch.Tensor) -> bool:
    return _fits_same_shape(output, target) and bool(((output >= 0) & (output <= 1)).all())


def _binary_constants(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    zeros = torch.zeros_like(output, dtype=torch.float64)
    share = target.double().mean(0, keepdim=True).clamp(_RARE, 1 - _RARE)
    return zeros, zeros + share.logit()


def _probability_constants(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    neutral, best = _binary_constants(output, target)
    return neutral.sigmoid(), best.sigmoid()


# --- regression -------------------------------------------------------------------------------------------------


def _mean_constants(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    zeros = torch.zeros_like(output, dtype=torch.float64)
    return zeros, zeros + target.double().mean(0, keepdim=True)


def _median_constants(output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    zeros = torch.zeros_like(output, dtype=torch.float64)
    return zeros, zeros + target.double().median(0, keepdim=True).values


def _square_at(output: torch.Tensor, high: float, std: float) -> float:
    return high * (1 + std) ** 2  # triangle inequality for the root mean squares of target and output


def _absolute_at(output: torch.Tensor, high: float, std: float) -> float:
    return high * (1 + std)


# --- the table --------------------------------------------------------------------------------------------------


def _cross_entropy(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (
        F.cross_entropy(output, target)
        if target.is_floating_point()
        else F.cross_entropy(*_flat(output, target))
    )


def _nll(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return F.nll_loss(*_flat(output, target))


def _class_text(name: str) -> Callable[[torch.Tensor, float, float], str]:
    def describe(output: torch.Tensor, low: float, high: float) -> str:
        classes = round(math.exp(high))
        return (
            f"ln {classes} = {high:.3f} for {name} over {classes} classes (the labels' entropy is {low:.3f})"
        )

    return describe


def _square_text(output: torch.Tensor, low: float, high: float) -> str:
    return f"the variance of the target, {low:.4g}, for squared error ({high:.4g} at an output of zero)"


def _constant_text(name: str) -> Callable[[torch.Tensor, float, float], str]:
    return lambda output, low, high: (
        f"{low:.4g} for the best constant output, {high:.4g} for zero, with {name}"
    )


def _softmax_at(output: torch.Tensor, high: float, std: float) -> float:
    # E[logsumexp - logit] over Gaussian logits, to second order: σ²/2 (1 - 1/C).
    return high + 0.5 * std**2 * (1 - 1 / max(_classes(output), 2))


def _binary_at(output: torch.Tensor, high: float, std: float) -> float:
    return high + std**2 / 8  # the second derivative of the softplus at 0 is 1/4


FAMILIES = (
    LossFamily(
        "softmax cross-entropy",
        (F.cross_entropy, nn.CrossEntropyLoss),
        _cross_entropy,
        lambda output, target: _fits_classes(output, target) or _fits_class_probabilities(output, target),
        _class_constants,
        _class_text("softmax cross-entropy"),
        _softmax_at,
    ),
    LossFamily(
        "negative log-likelihood",
        (F.nll_loss, nn.NLLLoss),
        _nll,
        _fits_classes,
        _log_probability_constants,
        _class_text("negative log-likelihood"),
        _softmax_at,
    ),
    LossFamily(
        "binary cross-entropy with logits",
        (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
        F.binary_cross_entropy_with_logits,
        _fits_same_shape,
        _binary_constants,
        lambda output, low, high: f"ln 2 = {high:.3f} for a binary logit (the labels' entropy is {low:.3f})",
        _binary_at,
    ),
    LossFamily(
        "binary cross-entropy",
        (F.binary_cross_entropy, nn.BCELoss),
        F.binary_cross_entropy,
        _fits_probabilities,
        _probability_constants,
        lambda output, low, high: (
            f"ln 2 = {high:.3f} for a probability of 1/2 (the labels' entropy is {low:.3f})"
        ),
        _binary_at,
    ),
    LossFamily(
        "squared error",
        (F.mse_loss, nn.MSELoss),
        F.mse_loss,
        _fits_same_shape,
        _mean_constants,
        _square_text,
        _square_at,
    ),
    LossFamily(
        "absolute error",
        (F.l1_loss, nn.L1Loss),
        F.l1_loss,
        _fits_same_shape,
        _median_constants,
        _constant_text("absolute error"),
        _absolute_at,
    ),
    LossFamily(
        "smooth absolute error",
        (F.smooth_l1_loss, nn.SmoothL1Loss, F.huber_loss, nn.HuberLoss),
        F.smooth_l1_loss,
        _fits_same_shape,
        _median_constants,
        _constant_text("smooth absolute error"),
        _square_at,
    ),
)


def declared_family(loss: Any) -> LossFamily | None:
    """Return the family of a loss that is torch's own: a function, a module, or a partial of one."""
    while isinstance(loss, functools.partial):
        loss = loss.func
    for family in FAMILIES:
        if any(loss is own or (isinstance(own, type) and isinstance(loss, own)) for own in family.declared):
            return family
    return None


def ignored_index(loss: Any) -> int:
    """Return the label that a loss leaves out; torch's default is -100."""
    while isinstance(loss, functools.partial):
        if "ignore_index" in loss.keywords:
            return int(loss.keywords["ignore_index"])
        loss = loss.func
    return int(getattr(loss, "ignore_index", -100))


def matching_family(loss_value: float, output: Any, target: Any) -> LossFamily | None:
    """Return the family whose loss of this output and target is the value that the user's code computed.

    Args:
        loss_value: What the loss or the step returned for the batch.
        output: The model's output, any shape.
        target: What it was compared with.
    """
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return None
    for family in FAMILIES:
        if family.fits(output, target):
            try:
                value = float(family.reference(output.detach(), target))
            except (
                RuntimeError,
                IndexError,
                ValueError,
            ):  # a label out of range, say: then it is another loss
                continue
            if abs(value - loss_value) <= _MATCH * max(abs(value), abs(loss_value), 1e-6):
                return family
    return None


def expectation(
    family: LossFamily, loss: LossFunction | None, output: torch.Tensor, target: torch.Tensor
) -> Expectation | None:
    """Return what a model that ignores its input would reach on these targets; None where it cannot be computed.

    Args:
        family: Which loss it is.
        loss: The user's own function of (output, target); the family's reference stands in when None.
        output: Outputs, whose shape counts: `[examples, ...]`.
        target: The targets that go with them.
    """
    function = loss or family.reference
    if not family.fits(output, target):
        return None
    neutral, best = family.constants(output, target)
    wanted = target.double() if target.is_floating_point() else target
    values = []
    for constant in (best, neutral):
        try:
            values.append(float(function(constant, wanted)))
        except RuntimeError:  # a loss with float32 weights refuses float64 outputs
            values.append(float(function(constant.to(output.dtype), target)))
    low, high = min(values), max(values)
    if not (math.isfinite(low) and math.isfinite(high)):
        return None
    return Expectation(
        low, high, family.describe(output, low, high), functools.partial(family.at_spread, output, high)
    )
