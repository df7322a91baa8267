"""Checks of whether a small sample can be learnt by heart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.learning.attainable import Attainable
    from lrtune.results import Finding

NEAR_FLOOR = (
    0.05  # of the way from the floor to what a model without input reaches: R² of 0.95 for squared error
)
DRAWN_SHARE = (
    0.1  # of the first loss, where the loss itself is drawn anew at each call: its floor may lie anywhere
)
UNKNOWN_SHARE = 0.5  # of what a model that ignores its input reaches, where no floor is known
INPUT_WORTH = (
    1.5  # times the fall: what mismatched inputs cost; for squared error that is reached at an R² of 0.9
)
GAP = 0.5  # of what was learnt: how much of it evaluation mode may lose
# Times the first loss, at least 1: densities that sharpen in a few hundred steps go to some ten times below it, while
# a divergence of the wrong sign, which grows with an exponential, was at -1e9 after 25.
BOTTOMLESS = 1e4
_MOVED = 1e-3  # of the first loss: a fall below that is rounding or noise
_EXACT = 1e-9  # accuracies are ratios of counts: equal but for rounding


@dataclass(frozen=True)
class Attempt:
    """One learning rate's try at the sample.

    Attributes:
        learning_rate: Of this try.
        loss_first: Loss on the sample before training.
        loss: Last finite loss on the sample.
        accuracy: On the sample, None where it means nothing.
        diverged_at: The step at which the loss stopped being finite, None if it did not.
        steps: Steps taken.
        mismatched: Loss with the inputs of other examples, None where input and target cannot be told apart.
        evaluation_loss: Loss in evaluation mode, where `loss` is that of the mode that does better.
        evaluation_accuracy: Accuracy likewise.
    """

    learning_rate: float
    loss_first: float
    loss: float
    accuracy: float | None
    diverged_at: int | None
    steps: int
    mismatched: float | None = None
    evaluation_loss: float | None = None
    evaluation_accuracy: float | None = None


def has_overfit(attempt: Attempt, aim: Attainable) -> bool:
    """Say whether the sample is learnt by heart, as far as the sample allows."""
    if attempt.diverged_at is not None:
        return False
    if attempt.accuracy is not None and aim.accuracy is not None:
        if attempt.accuracy >= aim.accuracy - _EXACT:
            return True
        if aim.per_example and not aim.drawn:
            return False
    return attempt.loss <= loss_aim(attempt, aim) or (aim.constant_loss is None and _by_its_input(attempt))


def _by_its_input(attempt: Attempt) -> bool:
    """Say whether the loss fell because of the input, wherever its floor lies.

    Outputs a·target (standardised) have a squared error of (1 - a)² on their own inputs and of 1 + a² on others', a
    difference of 1 / (1 - a/2) times the fall: 1 at the beginning, 1.5 at a = 2/3, 2 at the end.
    """
    fallen = attempt.loss_first - attempt.loss
    if attempt.mismatched is None or fallen <= _MOVED * abs(attempt.loss_first):
        return False
    return attempt.mismatched - attempt.loss >= INPUT_WORTH * fallen


def loss_aim(attempt: Attempt, aim: Attainable) -> float:
    """Return the loss at which a sample counts as learnt."""
    if aim.drawn:
        return attempt.loss_first - DRAWN_SHARE * abs(attempt.loss_first)
    if aim.loss is not None and aim.constant_loss is not None:
        return aim.loss + NEAR_FLOOR * (aim.constant_loss - aim.loss)
    ignoring = aim.constant_loss
    if (
        ignoring is None
    ):  # the first loss, too: mismatched inputs cost a sure model more than ignoring them would
        ignoring = min(
            attempt.loss_first, attempt.loss_first if attempt.mismatched is None else attempt.mismatched
        )
    return ignoring - UNKNOWN_SHARE * abs(ignoring)


def aim_text(attempt: Attempt, aim: Attainable) -> str:
    """Return in words when the sample counts as learnt."""
    loss = f"a loss of {loss_aim(attempt, aim):.4g}"
    if aim.loss is None or aim.drawn:
        loss += f" ({_unknown_text(attempt, aim)})"
    if aim.accuracy is None:
        return loss
    accuracy = f"{aim.accuracy:.4%} accuracy".replace(".0000%", "%")
    return accuracy if aim.per_example and not aim.drawn else f"{accuracy} or {loss}"


def _unknown_text(attempt: Attempt, aim: Attainable) -> str:
    if aim.drawn:
        return (
            "a tenth below the first loss: the step draws what is to be predicted, so that no floor is known"
        )
    if aim.constant_loss is not None:
        return "half of what the best constant output reaches"
    if attempt.mismatched is None:
        return "half the first loss: neither the loss nor the batches' parts are known"
    return (
        "half the first loss, with the inputs of other examples not below it either; or inputs of other examples "
        f"cost {INPUT_WORTH:g} times what the loss has fallen"
    )


def loss_explodes(attempts: Sequence[Attempt]) -> Finding | None:
    """Not every rate may end in NaN or infinity, and none below every number."""
    if not attempts:
        return None
    if any(attempt.diverged_at is None for attempt in attempts):
        return _falls_without_bound(attempts)
    lowest = min(attempts, key=lambda attempt: attempt.learning_rate)
    message = (
        f"The loss became NaN or infinite at every rate from {lowest.learning_rate:g} to "
        f"{max(attempt.learning_rate for attempt in attempts):g}; at the lowest after {lowest.steps} steps."
    )
    return finding("loss-explodes", message, "NaN or inf", "a finite loss")


def _falls_without_bound(attempts: Sequence[Attempt]) -> Finding | None:
    lowest = min(attempts, key=lambda attempt: attempt.loss if attempt.diverged_at is None else math.inf)
    bound = -BOTTOMLESS * max(abs(lowest.loss_first), 1.0)
    if lowest.loss > bound:
        return None
    message = (
        f"The loss falls without bound: from {lowest.loss_first:.4g} to {lowest.loss:.4g} in {lowest.steps} steps at "
        f"the rate {lowest.learning_rate:g}. A loss that has no minimum cannot be trained."
    )
    fix = (
        "Look for a term of the loss with the wrong sign: a divergence or a penalty is added to an error, a bonus or a "
        "log-likelihood is subtracted from it."
    )
    return finding("loss-explodes", message, lowest.loss, f"> {bound:.4g}", fix)


def has_mode_gap(attempt: Attempt, aim: Attainable) -> bool:
    """Say whether evaluation mode loses half of what training mode has learnt."""
    if attempt.evaluation_loss is None or not has_overfit(attempt, aim):
        return False
    ignoring = attempt.loss_first if aim.constant_loss is None else aim.constant_loss
    lost = attempt.evaluation_loss - attempt.loss
    return not math.isfinite(lost) or lost > GAP * max(ignoring - attempt.loss, 0.0)


def train_eval_gap(best: Attempt, aim: Attainable) -> Finding | None:
    """What was learnt in training mode is there in evaluation mode, once running statistics have caught up."""
    if not has_mode_gap(best, aim):
        return None
    message = (
        f"After {best.steps} steps the sample's loss is {best.loss:.4g} in training mode and "
        f"{best.evaluation_loss:.4g} in evaluation mode"
    )
    if best.accuracy is not None and best.evaluation_accuracy is not None:
        message += f" (accuracy {best.accuracy:.1%} and {best.evaluation_accuracy:.1%})"
    return finding("train-eval-gap", message + ".", best.evaluation_loss, "about the same")


def cannot_overfit(attempts: Sequence[Attempt], aim: Attainable, batches: int) -> Finding | None:
    """Some rate learns the sample by heart."""
    alive = [attempt for attempt in attempts if attempt.diverged_at is None]
    if not alive or any(has_overfit(attempt, aim) for attempt in alive):
        return None
    best = min(alive, key=lambda attempt: (-(attempt.accuracy or 0.0), attempt.loss))
    reached = f"a loss of {best.loss:.4g}"
    if best.accuracy is not None:
        reached = f"{best.accuracy:.1%} accuracy at {reached}"
    wanted = aim_text(best, aim)
    sample = f"{batches} minibatches" if batches > 1 else "a minibatch"
    message = (
        f"No learning rate from {min(a.learning_rate for a in attempts):g} to "
        f"{max(a.learning_rate for a in attempts):g} learns {sample} by heart: the best, "
        f"{best.learning_rate:g}, reaches {reached} after {best.steps} steps (at first {best.loss_first:.4g})."
    )
    measured = best.accuracy if best.accuracy is not None and aim.accuracy is not None else best.loss
    return finding("cannot-overfit", message, measured, wanted, _advice(best, alive, aim))


def _advice(best: Attempt, alive: Sequence[Attempt], aim: Attainable) -> str | None:
    if aim.parameters < aim.examples:
        return (
            f"The model has {aim.parameters:,} parameters for {aim.examples:,} examples, which may be too few to learn "
            "them by heart: lower batch_size or overfit.batches, or give it more capacity."
        )
    fallen = best.loss_first - best.loss
    if fallen <= 0.02 * abs(best.loss_first):  # nothing moved: no rate of a range that wide is right
        return None
    if best.learning_rate == max(attempt.learning_rate for attempt in alive):
        return "The highest rate that holds does best: raise overfit.steps, or check the initialisation."
    return "The loss falls but not to the end: raise overfit.steps or the model's capacity, and switch dropout off."
