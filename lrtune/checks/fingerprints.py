"""Checks of where the loss stalls: some faults stop it at a number of their own.

A softmax before cross-entropy lets no logit exceed another by more than 1, so that the loss of perfect answers is
ln(1 + (C - 1)/e): 1.461 for 10 classes. A model that ignores its input stops at what the best constant reaches, and so
does one whose every output is compared with every target.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.overfitting import has_overfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.checks.overfitting import Attempt
    from lrtune.probes.data.target_shapes import Misfit
    from lrtune.probes.learning.attainable import Attainable
    from lrtune.results import Finding

SYMPTOMS = frozenset({"cannot-overfit", "loss-explodes", "input-ignored"})  # which have a cause elsewhere

BELOW = 0.98  # of the squashed floor: a loss under it was not squashed
STALLED = (
    0.1  # of the way from the squashed floor to the constant's loss: as near as a few hundred steps come
)
SAME = 0.02  # of the constant's loss: as near as stalled tries come to it
NOTHING = (
    1e-4  # of the loss: what other examples' inputs change when the input has no influence, rounding apart
)


def may_be_squashed(attempt: Attempt, aim: Attainable) -> bool:
    """Say whether all that was reached could have been reached with outputs between 0 and 1."""
    return aim.squashed_loss is not None and attempt.loss >= BELOW * aim.squashed_loss


def double_softmax(attempts: Sequence[Attempt], aim: Attainable) -> Finding | None:
    """The lowest loss is not the one at which outputs between 0 and 1 stop."""
    floor, constant = aim.squashed_loss, aim.constant_loss
    alive = _alive(attempts)
    if floor is None or constant is None or not alive:
        return None
    best = min(alive, key=lambda attempt: attempt.loss)
    if not BELOW * floor <= best.loss <= floor + STALLED * (constant - floor):
        return None
    message = (
        f"The loss stops at {best.loss:.4g}: {floor:.4g} is what perfect answers reach when a softmax or a sigmoid "
        "stands before a loss that applies its own."
    )
    return finding("double-softmax", message, best.loss, f"< {BELOW * floor:.4g}")


def input_ignored(attempts: Sequence[Attempt], aim: Attainable) -> Finding | None:
    """The best try does better than one that ignores its input, or is worse off with others' inputs."""
    alive = _alive(attempts)
    if not alive or any(has_overfit(attempt, aim) for attempt in alive):
        return None
    best = min(alive, key=lambda attempt: attempt.loss)
    costs = None if best.mismatched is None else best.mismatched - best.loss
    without_influence = costs is not None and abs(costs) <= NOTHING * abs(best.loss)
    constant = aim.constant_loss
    stalled = constant is not None and abs(best.loss - constant) <= SAME * abs(constant)
    if not without_influence and not (stalled and (costs is None or costs <= SAME * abs(best.loss))):
        return None
    message = f"The best of {len(attempts)} rates stops at a loss of {best.loss:.4g}"
    if constant is not None:
        message += f", where {constant:.4g} is what the best constant output reaches"
    if costs is not None:
        message += f"; with the inputs of other examples it is {best.mismatched:.4g}"
    return finding("input-ignored", message + ".", best.loss, _wanted(constant))


def broadcast_target(seen: Misfit, attempts: Sequence[Attempt]) -> Finding:
    """No target is compared with the outputs of other examples."""
    alive = _alive(attempts)
    message = f"Outputs of shape {seen.output} and targets of {seen.target} are compared as {seen.broadcast}"
    if alive:
        lowest = min(attempt.loss for attempt in alive)
        message += (
            f"; the loss stops at {lowest:.4g}, as each output can but approach the mean of all targets"
        )
    fix = f"Use {seen.fix} before the loss, so that the shapes agree." if seen.fix else None
    return finding("broadcast-target", message + ".", f"{seen.output} and {seen.target}", "equal shapes", fix)


def _wanted(constant: float | None) -> str:
    return "a loss that depends on the input" if constant is None else f"< {constant * (1 - SAME):.4g}"


def _alive(attempts: Sequence[Attempt]) -> list[Attempt]:
    return [attempt for attempt in attempts if attempt.diverged_at is None]
