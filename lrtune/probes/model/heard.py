"""The model's own output, where a step returns the loss alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.population.forward import Outcome


def with_output(model: torch.nn.Module, run: Callable[[], Outcome]) -> Outcome:
    """Return what a run comes to, with what the model returned for its output where the step tells none.

    The model must have been called once, and have returned one tensor: else nobody knows which output is meant.

    Args:
        model: It is listened to.
        run: Sends one batch through it.
    """
    seen: list[Any] = []

    def returned(_: str, __: torch.nn.Module, *given: Any) -> None:
        seen.append(given[-1])

    with hooked(model, post=returned, only=lambda name, _: not name):
        outcome = run()
    if outcome.output is not None or len(seen) != 1 or not isinstance(seen[0], torch.Tensor):
        return outcome
    return replace(outcome, output=seen[0])
