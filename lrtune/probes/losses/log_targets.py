"""The targets that a program gives torch's losses of yes and no, wherever it calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.loss_calls import LossCalls

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_LOSSES: tuple[Any, ...] = (
    F.binary_cross_entropy_with_logits,
    F.binary_cross_entropy,
    torch.binary_cross_entropy_with_logits,
)


@dataclass(frozen=True)
class LogTargets:
    """The targets of all such calls in the first step of training.

    Attributes:
        low: The smallest.
        high: The largest.
        outside: How many lie outside of 0 to 1.
        total: How many there are.
    """

    low: float
    high: float
    outside: int
    total: int


def log_targets(sample: Sample) -> LogTargets | None:
    """Measure the first batch; None where no such loss is called."""
    targets: list[torch.Tensor] = []

    def keep(_: Any, target: Any) -> None:
        if isinstance(target, torch.Tensor) and target.numel():
            targets.append(target.detach().flatten().float().cpu())

    with LossCalls(_LOSSES, keep):
        sample.run(sample.model, sample.batches[0], training=True)
    if not targets:
        return None
    values = torch.cat(targets)
    outside = int(((values < 0) | (values > 1)).sum())
    return LogTargets(float(values.min()), float(values.max()), outside, values.numel())
