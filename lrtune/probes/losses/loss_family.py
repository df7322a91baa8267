"""Which loss this is: torch's own by name, any other by the number that it computes."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses import constant_outputs as constant
from lrtune.probes.losses import expected_spread as spread
from lrtune.probes.losses.loss_settings import setting
from lrtune.probes.losses.same_number import same

LossFunction = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

_MATCH = (
    1e-4  # relative difference of two float32 losses that are the same computation; another's may be near
)


@dataclass(frozen=True)
class LossFamily:
    """A loss that lrtune knows.

    Attributes:
        name: For messages.
        kind: What its targets are.
        declared: Functions and modules of torch that are this loss.
        reference: The loss itself, averaged over the batch.
        fits: Whether an output and a target can belong to it.
        constants: `(classes, pooled targets, loss) -> neutral output, candidates for the best constant one`.
        describe: `(classes, low, high) -> text`.
        at_spread: `(classes, high, σ, mean target) -> loss` that outputs of standard deviation σ explain.
        yes: Of a binary loss: the output above which the answer is yes.
        classes_last: Of a class loss: whether the last dimension holds the classes where torch's could as well.
        counts: Of a regression: whether targets are counts, whose scale is their own and which are not negative.
        given: Settings that tell it from others of the same function, by their names.
    """

    name: str
    kind: Literal["classes", "binary", "regression"]
    declared: tuple[Any, ...]
    reference: LossFunction
    fits: Callable[[torch.Tensor, torch.Tensor], bool]
    constants: Callable[[int, torch.Tensor, Any], constant.Constants]
    describe: Callable[[int, float, float], str]
    at_spread: Callable[[int, float, float, float], float]
    yes: float = 0.0
    classes_last: bool = False
    counts: bool = False
    given: tuple[tuple[str, Any], ...] = ()

    def dimension(self, output: torch.Tensor, target: torch.Tensor) -> int | None:
        """Return which dimension of the output runs over classes, None where none does."""
        if self.kind != "classes":
            return None
        if target.is_floating_point():
            return 1
        return constant.class_dimension(output, target, self.classes_last)


def _cross_entropy(output: torch.Tensor, target: torch.Tensor, last: bool = False) -> torch.Tensor:
    if target.is_floating_point():
        return F.cross_entropy(output, target)
    return F.cross_entropy(*constant.flat_classes(output, target, last))


def _nll(output: torch.Tensor, target: torch.Tensor, last: bool = False) -> torch.Tensor:
    return F.nll_loss(*constant.flat_classes(output, target, last))


def _fits_cross_entropy(output: torch.Tensor, target: torch.Tensor) -> bool:
    return constant.fits_classes(output, target) or constant.fits_class_probabilities(output, target)


def _softmax(last: bool) -> LossFamily:
    return LossFamily(
        "softmax cross-entropy",
        "classes",
        (F.cross_entropy, nn.CrossEntropyLoss),
        functools.partial(_cross_entropy, last=last),
        _fits_cross_entropy,
        constant.class_constants,
        spread.class_text("softmax cross-entropy"),
        spread.softmax_at,
        classes_last=last,
    )


def _likelihood(last: bool) -> LossFamily:
    return LossFamily(
        "negative log-likelihood",
        "classes",
        (F.nll_loss, nn.NLLLoss),
        functools.partial(_nll, last=last),
        constant.fits_classes,
        constant.log_probability_constants,
        spread.class_text("negative log-likelihood"),
        spread.softmax_at,
        classes_last=last,
    )


def _poisson(log_input: bool) -> LossFamily:
    name = "Poisson's negative log-likelihood"
    return LossFamily(
        name,
        "regression",
        (F.poisson_nll_loss, nn.PoissonNLLLoss),
        functools.partial(F.poisson_nll_loss, log_input=log_input),
        constant.fits_counts,
        constant.log_rate_constants if log_input else constant.rate_constants,
        spread.count_text(name),
        spread.count_at,
        counts=True,
        given=(("log_input", log_input),),
    )


FAMILIES = (
    _softmax(last=False),
    _likelihood(last=False),
    LossFamily(
        "binary cross-entropy with logits",
        "binary",
        (F.binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss),
        F.binary_cross_entropy_with_logits,
        constant.fits_same_shape,
        constant.binary_constants,
        spread.binary_text("a binary logit"),
        spread.binary_at,
    ),
    LossFamily(
        "binary cross-entropy",
        "binary",
        (F.binary_cross_entropy, nn.BCELoss),
        F.binary_cross_entropy,
        constant.fits_probabilities,
        constant.probability_constants,
        spread.binary_text("a probability of 1/2"),
        spread.binary_at,
        yes=0.5,
    ),
    LossFamily(
        "squared error",
        "regression",
        (F.mse_loss, nn.MSELoss),
        F.mse_loss,
        constant.fits_same_shape,
        constant.mean_constants,
        spread.square_text,
        spread.square_at,
    ),
    LossFamily(
        "absolute error",
        "regression",
        (F.l1_loss, nn.L1Loss),
        F.l1_loss,
        constant.fits_same_shape,
        constant.median_constants,
        spread.constant_text("absolute error"),
        spread.absolute_at,
    ),
    LossFamily(
        "smooth absolute error",
        "regression",
        (F.smooth_l1_loss, nn.SmoothL1Loss, F.huber_loss, nn.HuberLoss),
        F.smooth_l1_loss,
        constant.fits_same_shape,
        constant.robust_constants,
        spread.constant_text("smooth absolute error"),
        spread.square_at,
    ),
    _poisson(log_input=True),
    _poisson(log_input=False),
)
# Torch's own losses have the classes in dimension 1; a step may hand out outputs that have them last. Where both
# numbers match (all logits equal), an output [batch, time, classes] is likelier than one the other way round.
_CLASSES_LAST = (_softmax(last=True), _likelihood(last=True))


def declared_family(loss: Any) -> LossFamily | None:
    """Return the family of a loss that is torch's own: a function, a module, or a partial of one."""
    called = loss
    while isinstance(called, functools.partial):
        called = called.func
    for family in FAMILIES:
        own = any(
            called is one or (isinstance(one, type) and isinstance(called, one)) for one in family.declared
        )
        if own and all(setting(loss, name, value) == value for name, value in family.given):
            return family
    return None


def ignored_index(loss: Any) -> int:
    """Return the label that a loss leaves out; torch's default is -100."""
    return setting(loss, "ignore_index", -100)


def matching_family(loss_value: float, output: Any, target: Any) -> LossFamily | None:
    """Return the family whose loss of this output and target is the value that the user's code computed.

    Args:
        loss_value: What the loss or the step returned for the batch.
        output: The model's output, any shape.
        target: What it was compared with.
    """
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return None
    families = (*_CLASSES_LAST, *FAMILIES) if _two_layouts(output, target) else FAMILIES
    return next((one for one in families if _computes(one, loss_value, output, target)), None)


def _two_layouts(output: torch.Tensor, target: torch.Tensor) -> bool:
    return constant.class_dimension(output, target) != constant.class_dimension(output, target, last=True)


def _computes(family: LossFamily, loss_value: float, output: torch.Tensor, target: torch.Tensor) -> bool:
    if not family.fits(output, target) or (family.counts and not bool(output.any())):
        return False  # a loss of 1 at zeros is not Poisson's alone
    try:
        value = float(family.reference(output.detach(), target))
    except (RuntimeError, IndexError, ValueError):  # a label out of range, say: then it is another loss
        return False
    return same(value, loss_value, _MATCH)
