"""The targets that a program gives torch's losses of yes and no, wherever it calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.overrides import TorchFunctionMode

if TYPE_CHECKING:
    from collections.abc import Mapping

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


class _Watch(TorchFunctionMode):
    """Keeps the second argument of every such loss."""

    def __init__(self) -> None:
        super().__init__()
        self.targets: list[torch.Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at a call of torch and let it pass."""
        named = dict(kwargs or {})
        if any(func is one for one in _LOSSES):
            target = args[1] if len(args) > 1 else named.get("target")
            if isinstance(target, torch.Tensor) and target.numel():
                self.targets.append(target.detach().flatten().float())
        return func(*args, **named)


def log_targets(sample: Sample) -> LogTargets | None:
    """Measure the first batch; None where no such loss is called."""
    watch = _Watch()
    with watch:
        sample.run(sample.model, sample.batches[0], training=True)
    if not watch.targets:
        return None
    values = torch.cat([one.cpu() for one in watch.targets])
    outside = int(((values < 0) | (values > 1)).sum())
    return LogTargets(float(values.min()), float(values.max()), outside, values.numel())
