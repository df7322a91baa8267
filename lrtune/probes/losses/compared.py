"""What is compared with what in a regression, where the loss is not one of torch's that the task names.

A loss of one's own that does not change when the same number is added to outputs and targets sees their difference
alone (quantile, log-cosh, trimmed errors): outputs must then reach the targets. A step is listened to instead: torch's
own errors, which may be parts of a longer sum, tell what they are given.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses.loss_behaviour import drawn_like, quiet
from lrtune.probes.losses.loss_calls import LossCalls
from lrtune.probes.losses.same_number import same

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.losses.loss_family import LossFunction
    from lrtune.probes.sample import Sample

_ERRORS: tuple[Any, ...] = (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss)
_SHIFTS = (1.0, -3.0)  # in deviations of the targets, to both sides: the loss may be flat to one
_MOVED = 1e-2  # relative: how much the loss must change when outputs alone are shifted
_MOST = 2**20  # numbers that are kept of a comparison

Pair = tuple[torch.Tensor, torch.Tensor]


def sees_differences(loss: LossFunction, outcome: Outcome) -> bool:
    """Say whether a loss depends on target - output alone, tried on outputs that are drawn around the targets."""
    output, target = outcome.output, outcome.target
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return False
    if not (output.is_floating_point() and target.is_floating_point()) or target.numel() < 2:
        return False
    scale = float(target.std())
    drawn = scale * drawn_like(output) + target.mean()
    plain = quiet(loss, drawn, target)
    if plain is None or not scale:
        return False
    both = [quiet(loss, drawn + step * scale, target + step * scale) for step in _SHIFTS]
    alone = [quiet(loss, drawn + step * scale, target) for step in _SHIFTS]
    kept = all(value is not None and same(value, plain) for value in both)
    return kept and all(value is not None and not same(value, plain, _MOVED) for value in alone)


def compared(sample: Sample, model: torch.nn.Module, batch: Any) -> list[Pair]:
    """Return what torch's errors are given in a step: outputs with a gradient beside data of their shape."""
    pairs: list[Pair] = []

    def keep(one: Any, other: Any) -> None:
        if _is_comparison(one, other):
            output, target = (one, other) if one.requires_grad else (other, one)
            pairs.append((output.detach().clone(), target.detach().clone()))

    with LossCalls(_ERRORS, keep):
        sample.run(model, batch, training=True, graph=True)
    return pairs


def _is_comparison(one: Any, other: Any) -> bool:
    """Whether one is an output and the other data: of two outputs, or nothing that is learnt, neither is a target."""
    tensors = isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)
    alike = bool(tensors and one.shape == other.shape and one.numel() <= _MOST)
    return alike and one.requires_grad != other.requires_grad
