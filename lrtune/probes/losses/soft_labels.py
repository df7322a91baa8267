"""The rows of numbers that a program gives torch's cross-entropy as probabilities of its classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.loss_calls import LossCalls
from lrtune.probes.model.model_calls import listening

if TYPE_CHECKING:
    from lrtune.probes.model.model_calls import Call
    from lrtune.probes.sample import Sample

_SEVERAL = 1.5  # a row's sum from which it holds more than one label; smoothing and mixing keep 1


@dataclass(frozen=True)
class SoftLabels:
    """The rows of one call in the first step of training.

    Attributes:
        rows: How many.
        classes: Numbers in a row.
        several: Rows that sum to 1.5 or more.
        low: The smallest number.
        high: The largest number.
        sums: Smallest, mean and largest sum of a row.
    """

    rows: int
    classes: int
    several: int
    low: float
    high: float
    sums: tuple[float, float, float]


def _are_probabilities(output: Any, target: Any) -> bool:
    tensors = isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)
    return bool(tensors and target.is_floating_point() and target.shape == output.shape and target.numel())


def soft_labels(sample: Sample) -> SoftLabels | None:
    """Measure the first batch's call with most rows of several labels; None where no such call is made.

    Left out are targets that the model was given as well: an autoencoder of baskets of items scores all items of a
    basket by one softmax, the likelihood of a multinomial (Liang et al., 2018).
    """
    targets: list[torch.Tensor] = []
    calls: list[Call] = []

    def keep(output: Any, target: Any) -> None:
        if _are_probabilities(output, target):
            targets.append(target.detach())

    with LossCalls((F.cross_entropy,), keep), listening(sample.model, calls):
        sample.run(sample.model, sample.batches[0], training=True)
    given = [one for call in calls for one in call.inputs]
    told = [_measured(one) for one in targets if not any(_is_source(other, one) for other in given)]
    return max(told, key=lambda one: one.several / one.rows, default=None)


def _is_source(given: torch.Tensor, target: torch.Tensor) -> bool:
    """Say whether the model's input holds what the target holds, or a part of it."""
    if given.shape != target.shape:
        return False
    absent = target == 0
    return not bool((given != 0)[absent].any()) if bool(absent.any()) else torch.equal(given, target)


def _measured(target: torch.Tensor) -> SoftLabels:
    rows = target.movedim(min(1, target.ndim - 1), -1).reshape(-1, target.shape[min(1, target.ndim - 1)])
    sums = rows.double().sum(1)
    spread = float(sums.min()), float(sums.mean()), float(sums.max())
    several = int((sums >= _SEVERAL).sum())
    return SoftLabels(len(rows), rows.shape[1], several, float(rows.min()), float(rows.max()), spread)
