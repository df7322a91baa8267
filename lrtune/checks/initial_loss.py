"""Checks of the loss at initialisation against what theory expects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.initialisation import InitialLoss
    from lrtune.results import Finding

OUTPUT_STD = 1.5  # of a healthy model's outputs, at most: default initialisations stay below 1
STANDARD_ERRORS = 3.0
LOW_SHARE = 0.9  # of the best constant's loss: below it the model knows something of the targets
GIVEN_TOLERANCE = 0.1  # relative, around the user's expected_initial_loss


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
    low = None if pretrained else LOW_SHARE * theory.low - _noise(seen)
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
    fix = None
    if seen.output_std is not None:
        message += f" The outputs' standard deviation is {seen.output_std:.3g}."
        if seen.output_std > OUTPUT_STD:
            fix = (
                f"Scale the last layer down by about {seen.output_std:.2g} (for instance "
                f"layer.weight.data.div_({seen.output_std:.2g})), or normalise the inputs."
            )
    return finding("initial-loss-high", message, seen.mean, f"<= {limit:.4g}", fix)


def initial_loss_low(seen: InitialLoss, pretrained: bool) -> Finding | None:
    """A model that has seen nothing is not better than the best constant; a pretrained one may be."""
    theory = seen.expectation
    limit, _ = accepted(seen, None, pretrained)
    if theory is None or limit is None or seen.mean >= limit:
        return None
    message = f"The loss at initialisation is {seen.mean:.4g}{_error(seen)}, lower than any model can reach"
    message += f" that has learnt nothing: {theory.text}."
    return finding("initial-loss-low", message, seen.mean, f">= {limit:.4g}")


def expectation_unknown(seen: InitialLoss) -> Finding | None:
    """Say so when there is nothing to compare with."""
    if seen.expectation is not None:
        return None
    message = f"No expectation is known for this loss; at initialisation it is {seen.mean:.4g}{_error(seen)}."
    return finding("expectation-unknown", message, seen.mean)


def _noise(seen: InitialLoss) -> float:
    return STANDARD_ERRORS * (seen.standard_error or 0.0)


def _error(seen: InitialLoss) -> str:
    return "" if seen.standard_error is None else f" ± {seen.standard_error:.2g}"
