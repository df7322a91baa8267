"""What step 1 says of the loss at initialisation; where one model may be chance, further ones are asked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from lrtune.checks import initial_loss as loss_checks
from lrtune.probes.initialisation import InitialLoss, initial_loss
from lrtune.probes.losses.fixed_scale import has_fixed_scale
from lrtune.probes.sample import Sample
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.results import Finding
    from lrtune.steps.context import Context

_CONFIRMATIONS = 3  # fresh models that must be as low before the first is called so


def loss_findings(context: Context, seen: InitialLoss, batches: Sequence[Any]) -> list[Finding | None]:
    """Return what is said of a measured loss, None for each judgement that has nothing to say.

    Args:
        context: The task made ready.
        seen: The loss of the first model.
        batches: That it was measured on, for further models.
    """
    if not math.isfinite(seen.mean):
        return []
    if context.task.expected_initial_loss is not None:
        return [loss_checks.initial_loss_given(seen, context.task.expected_initial_loss)]
    low = loss_checks.initial_loss_low(seen, context.task.pretrained)
    high = loss_checks.initial_loss_high(seen)
    return [
        high if high and _is_no_design(context, seen, batches) else None,
        low if low and _again(loss_checks.initial_loss_low, context, batches) else None,
        loss_checks.outputs_enormous(seen),
        loss_checks.expectation_unknown(
            seen, told=context.task.loss is not None or seen.output_std is not None
        ),
    ]


def _is_no_design(context: Context, seen: InitialLoss, batches: Sequence[Any]) -> bool:
    """Say whether a high loss is one of chance or of a cosine head's constant; neither is a fault."""
    if not (loss_checks.is_clear(seen) or _again(_high, context, batches)):
        return False
    sample = Sample(context.program, context.data.train, batches, context.config.seed)
    return not (loss_checks.is_within_fixed_scale(seen) and has_fixed_scale(sample))


def _high(seen: InitialLoss, pretrained: bool) -> Finding | None:
    return loss_checks.initial_loss_high(seen)


def _again(
    check: Callable[[InitialLoss, bool], Finding | None], context: Context, batches: Sequence[Any]
) -> bool:
    """Say whether further initialisations give the finding, too: one alone may have been chance."""
    program = context.program
    for seed in range(context.config.seed + 1, context.config.seed + 1 + _CONFIRMATIONS):
        with seeded(seed):
            model = program.build_model()
        if not check(initial_loss(program, model, batches, seed), False):
            return False
    return True
