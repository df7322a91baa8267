"""Checks of where the loss stalls: some faults stop it at a number of their own.

A softmax before cross-entropy lets no logit exceed another by more than 1, so that the loss of perfect answers is
ln(1 + (C - 1)/e): 1.461 for 10 classes. A model that ignores its input stops at what the best constant reaches, and so
does one whose every output is compared with every target.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.overfitting import NEAR_FLOOR, has_overfit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.checks.overfitting import Attempt
    from lrtune.probes.data.target_shapes import Misfit
    from lrtune.probes.learning.attainable import Attainable
    from lrtune.probes.learning.limits import Limits
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
# Of the way from the free floor to the constant's loss, where bounded outputs stop though all answers are right. Logits
# within [-1, 1] stop at 0.18 (2 classes) to 0.35 (10), cosines times 4 at 0.001 (10) and 0.007 (100), a soft cap of 30
# at 0; label smoothing moves both floors alike.
BOUNDED = 0.1
STUCK = 0.05  # of the labels, whose right output is an exact 0: a net that learns them has none by then


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


def may_be_bounded(limits: Limits | None, learnt: bool) -> bool:
    """Say whether bounds of the outputs keep the loss up.

    Args:
        limits: What the bounds mean, None where the outputs are free.
        learnt: Whether the sample counts as learnt all the same.
    """
    return limits is not None and limits.harm > _share(learnt)


def bounded_outputs(best: Attempt, limits: Limits | None, aim: Attainable, stalled: bool) -> Finding | None:
    """The outputs can go where the targets want them.

    Args:
        best: The try that did best.
        limits: What the bounds of its outputs mean, None where they are free.
        aim: What the sample allows.
        stalled: Whether the loss has stopped falling: a range that is only guessed could still widen before.
    """
    if limits is None or best.diverged_at is not None:
        return None
    learnt = has_overfit(best, aim)
    if not may_be_bounded(limits, learnt):
        return _stuck_outputs(best, limits, learnt)
    if not (limits.bounds.settled or stalled) or best.loss < BELOW * limits.loss:
        return None
    message = (
        f"{_range_text(limits)}: the least loss that such outputs allow is {limits.loss:.4g}, where free ones reach "
        f"{limits.free_loss:.4g}; the loss is {best.loss:.4g} after {best.steps} steps"
    )
    if best.accuracy is not None:
        message += f", at {best.accuracy:.1%} accuracy"
    allowed = limits.free_loss + _share(learnt) * (limits.constant_loss - limits.free_loss)
    return finding("cannot-overfit", message + ".", limits.loss, f"< {allowed:.4g}", _unbound(limits))


def _share(learnt: bool) -> float:
    return BOUNDED if learnt else NEAR_FLOOR


def _stuck_outputs(best: Attempt, limits: Limits, learnt: bool) -> Finding | None:
    """Outputs that a ReLU holds at zero let no gradient through; where all is learnt it does no harm."""
    if learnt or limits.stuck < STUCK:
        return None
    message = (
        f"The outputs are never below {limits.bounds.low:g}, and {limits.stuck:.0%} of the right classes' outputs "
        f"are held exactly there, where no gradient comes through: {best.accuracy or 0:.1%} accuracy at a loss of "
        f"{best.loss:.4g} after {best.steps} steps."
    )
    return finding("cannot-overfit", message, limits.stuck, f"< {STUCK:g}", _unbound(limits))


def _range_text(limits: Limits) -> str:
    low, high = limits.bounds.low, limits.bounds.high
    if low == -math.inf:
        reach = f"the outputs stay below {high:.3g}"
    elif high == math.inf:
        reach = f"the outputs stay above {low:.3g}"
    else:
        reach = f"the outputs stay within [{low:.3g}, {high:.3g}]"
    if limits.bounds.by:
        reach += f" ({limits.bounds.by})"
    if limits.targets is None:
        return reach[0].upper() + reach[1:]
    return f"Targets reach from {limits.targets[0]:.3g} to {limits.targets[1]:.3g}, but {reach}"


def _unbound(limits: Limits) -> str:
    what = limits.bounds.by or "tanh, sigmoid, clamp or normalisation"
    if limits.targets is not None:
        return f"Remove the {what} after the last layer, or scale the targets into the range of the outputs."
    if limits.bounds.low == 0 and limits.bounds.high == math.inf:
        return f"Remove the {limits.bounds.by or 'ReLU'} after the last layer: logits must be free to be negative."
    return f"Remove the {what} between the last layer and the loss, or multiply its result by a learned temperature."


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
