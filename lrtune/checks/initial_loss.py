"""Checks of the loss at initialisation against what theory expects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import in_model

if TYPE_CHECKING:
    from lrtune.probes.initialisation import InitialLoss
    from lrtune.results import Finding

OUTPUT_STD = 1.5  # of a healthy model's outputs, at most: default initialisations stay below 1
STANDARD_ERRORS = 3.0
SHARPEST = 100.0  # of logits under a loss that nothing is known of: CLIP clips its scale there (Radford et al., 2021)
FIXED_SCALE = 64.0  # the largest constant in use that multiplies cosines (Deng et al., "ArcFace", 2019)
LOW_SHARE = 0.9  # of the best constant's loss: below it the model knows something of the targets
GIVEN_TOLERANCE = 0.1  # relative, around the user's expected_initial_loss
CLEAR_EXCESS = 2.0  # times the limit: below it one initialisation may be chance
WIDE = 30.0  # times their targets, under an unknown loss: 14 healthy nets gave 0.03 to 1.2, inputs up to 255 up to 160
_TWICE = (0.5, 2.0)  # times the expectation over the batch size: then that size is what is missing
_UNNORMALISED = 0.01  # sums of exp(log-probability) are 1 within rounding, in half precision too


def nonfinite_loss(losses: list[float]) -> Finding | None:
    """The loss of every batch is finite."""
    bad = sum(1 for loss in losses if not math.isfinite(loss))
    if not bad:
        return None
    message = f"The loss of {bad} of {len(losses)} batches is NaN or infinite before any training."
    return finding("nonfinite-loss", message, "NaN or inf", "a finite loss")


def loss_not_scalar(shape: list[int]) -> Finding | None:
    """The loss is one number."""
    if math.prod(shape) == 1:
        return None
    message = f"The loss is a tensor of shape {shape}, where backward() needs one number."
    return finding("loss-not-scalar", message, str(shape), "[]")


def accepted(seen: InitialLoss, given: float | None, pretrained: bool) -> tuple[float | None, float | None]:
    """Return the lowest and the highest initial loss that raise no finding; None where there is no bound.

    Args:
        seen: The measurement, whose standard error widens the range.
        given: The task's own expectation: accepted within 10% and three standard errors.
        pretrained: Whether the model may know something already.
    """
    if given is not None:
        slack = GIVEN_TOLERANCE * abs(given) + _noise(seen)
        return given - slack, given + slack
    theory = seen.expectation
    if theory is None:
        return None, None
    size = abs(theory.low)
    if theory.unbounded:  # such a loss may be 0 by chance of its constants
        size = max(size, theory.high - theory.low)
    known = pretrained or seen.compares
    low = None if known else theory.low - (1 - LOW_SHARE) * size - _noise(seen)
    return low, theory.at_spread(OUTPUT_STD) + _noise(seen)


def initial_loss_given(seen: InitialLoss, expected: float) -> Finding | None:
    """The loss is what the user said it should be."""
    low, high = accepted(seen, expected, pretrained=False)
    assert low is not None
    assert high is not None
    if low <= seen.mean <= high:
        return None
    code = "initial-loss-high" if seen.mean > expected else "initial-loss-low"
    message = f"The loss at initialisation is {seen.mean:.4g}{_error(seen)}; the task expects {expected:.4g}."
    return finding(code, message, seen.mean, f"{low:.4g} to {high:.4g}")


def initial_loss_high(seen: InitialLoss) -> Finding | None:
    """The loss does not exceed that of a neutral output by more than outputs of a sane size explain."""
    theory = seen.expectation
    _, limit = accepted(seen, None, pretrained=False)
    if theory is None or limit is None or seen.mean <= limit:
        return None
    message = f"The loss at initialisation is {seen.mean:.4g}{_error(seen)}; expected is {theory.text}."
    return finding(
        "initial-loss-high", message + _told_spread(seen), seen.mean, f"<= {limit:.4g}", _scaled_down(seen)
    )


def is_clear(seen: InitialLoss) -> bool:
    """Say whether a loss that is too high is so by far, and no chance of one initialisation."""
    _, limit = accepted(seen, None, pretrained=False)
    return limit is not None and seen.mean > CLEAR_EXCESS * limit


def _told_spread(seen: InitialLoss) -> str:
    """Return a sentence on how wide the outputs are and how much of the loss that explains."""
    if seen.output_std is None:
        return ""
    if seen.spread.explained is not None:
        where = f" in {in_model(seen.last_layer)}" if seen.last_layer else ""
        return (
            f" The logits{where} have a standard deviation of {seen.output_std:.3g} within a row, which alone "
            f"explains about {seen.spread.explained:.3g} of it."
        )
    own, targets = seen.spread.size, seen.spread.target_size
    if seen.kind == "regression" and own is not None and targets is not None:
        return f" The outputs' root mean square is {own:.3g}, the targets' {targets:.3g}."
    return f" The outputs' standard deviation is {seen.output_std:.3g}."


def _scaled_down(seen: InitialLoss) -> str | None:
    """Return by how much the last layer is too large, None where that is not the reason."""
    if seen.output_std is None or seen.output_std <= OUTPUT_STD:
        return None
    factor = seen.output_std
    if seen.kind == "regression" and seen.spread.target_size:
        factor /= max(seen.spread.target_size, 1.0)
    if factor <= OUTPUT_STD:
        return None
    layer = in_model(seen.last_layer) if seen.last_layer else "layer"
    return (
        f"Scale the last layer down by about {factor:.2g} (for instance {layer}.weight.data.div_({factor:.2g})), "
        "or normalise the inputs."
    )


def is_within_fixed_scale(seen: InitialLoss) -> bool:
    """Say whether cosines times the constants in use explain a loss: logits lie up to twice the constant apart."""
    return seen.expectation is not None and seen.mean <= seen.expectation.high + 2 * FIXED_SCALE


def initial_loss_low(seen: InitialLoss, pretrained: bool) -> Finding | None:
    """A model that has seen nothing is not better than the best constant; a pretrained one may be."""
    theory = seen.expectation
    limit, _ = accepted(seen, None, pretrained)
    if theory is None or limit is None or seen.mean >= limit:
        return None
    message = f"The loss at initialisation is {seen.mean:.4g}{_error(seen)}, lower than any model can reach"
    message += f" that has learnt nothing: {theory.text}."
    cause, fix = _why_low(seen)
    return finding("initial-loss-low", message + cause, seen.mean, f">= {limit:.4g}", fix)


def _why_low(seen: InitialLoss) -> tuple[str, str | None]:
    """Return the likeliest cause as a sentence, and its fix where it is not the usual one."""
    theory, total = seen.expectation, seen.spread.exponential_sum
    assert theory is not None
    if "negative log-likelihood over" in theory.text and total is not None and abs(total - 1) > _UNNORMALISED:
        return (
            f" The outputs are no log-probabilities: their exponentials sum to {total:.3g} in a row, not to 1.",
            "Use F.cross_entropy on the logits, or put log_softmax before nll_loss.",
        )
    if not theory.unbounded and seen.mean < 0:
        return (
            " The loss is negative, which this one cannot be: its sign is turned.",
            "Minimise the negative log-likelihood: remove the minus sign (or the maximising) from the loss.",
        )
    share = theory.high / seen.batch_size if seen.batch_size > 1 else 0.0
    if not theory.unbounded and _TWICE[0] * share < seen.mean < _TWICE[1] * share:
        return (
            f" It is about 1/{seen.batch_size:.0f} of that, as if divided by the size of the batch once more.",
            "Divide by the number of examples once: reduction='mean' does so already.",
        )
    return "", None


def expectation_unknown(seen: InitialLoss, told: bool = False) -> Finding | None:
    """Say so when there is nothing to compare with.

    Args:
        seen: The measurement.
        told: Whether output and target are known: then only the user can say what to expect.
    """
    if seen.expectation is not None:
        return None
    message = f"No expectation is known for this loss; at initialisation it is {seen.mean:.4g}{_error(seen)}."
    fix = "State the loss that you expect: Task(..., expected_initial_loss=...)." if told else None
    return finding("expectation-unknown", message, seen.mean, fix=fix)


def outputs_enormous(seen: InitialLoss) -> Finding | None:
    """Under a loss that nothing is known of, outputs are at least no hundred times what any target is."""
    size = seen.spread.target_size
    if seen.expectation is not None or seen.output_std is None:
        return None
    if size is None:
        return _logits_enormous(seen, seen.output_std)
    ratio = seen.output_std / max(size, 1.0)
    if ratio <= WIDE:
        return None
    message = (
        f"The untrained model's outputs have a standard deviation of {seen.output_std:.3g}, "
        f"{ratio:.2g} times what their targets (root mean square {size:.3g}) ask for."
    )
    return finding("initial-loss-high", message, ratio, f"<= {WIDE:g}", _scaled_down(seen))


def _logits_enormous(seen: InitialLoss, std: float) -> Finding | None:
    if std <= SHARPEST:
        return None
    message = (
        f"The untrained model's outputs have a standard deviation of {std:.3g}; the sharpest temperatures in use give "
        f"{SHARPEST:g}."
    )
    return finding("initial-loss-high", message, std, f"<= {SHARPEST:g}", _scaled_down(seen))


def _noise(seen: InitialLoss) -> float:
    return STANDARD_ERRORS * (seen.standard_error or 0.0)


def _error(seen: InitialLoss) -> str:
    return "" if seen.standard_error is None else f" ± {seen.standard_error:.2g}"
