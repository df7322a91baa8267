"""Tensors and outcomes of both executions compared; the first that differ are named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import tensors_of
from lrtune.population.forward import measured_metrics
from lrtune.population.fused.difference import difference, update_difference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.population.forward import Outcome
    from lrtune.population.fused.stack import Stack
    from lrtune.task import Task

LOSS_FLOOR = 1e-2  # the terms that a loss near zero is the sum of are larger than it
# Of the model's largest: a bias before a batch norm has a gradient of rounding errors alone.
GRADIENT_FLOOR = 1e-2


class UnlikeError(Exception):
    """The executions differ; the message says in a line in what."""


class DifferentError(UnlikeError):
    """They differ in a number, which rounding may have done."""


def compare_tensors(
    what: str, found: torch.Tensor, wanted: torch.Tensor, allowed: float, floor: float = 0.0
) -> None:
    """See that a tensor is as it should be.

    Raises:
        UnlikeError: If it is not.
    """
    _judge(what, difference(found, wanted, floor), allowed)


def compare_updates(
    model: torch.nn.Module, stack: Stack, row: int, before: Mapping[str, torch.Tensor], allowed: float
) -> None:
    """See that a model's parameters and buffers have become what a row has.

    Args:
        model: Trained alone.
        stack: The rows.
        row: The model's.
        before: The stack's tensors before the step, whose change is what the difference is relative to.
        allowed: The largest difference.

    Raises:
        UnlikeError: If they have not.
    """
    wanted = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    for name, stacked in (stack.trained | stack.varied).items():
        found = stacked.detach()[row]
        _judge(
            place(name), update_difference(found, wanted[name].detach(), before[name][row], allowed), allowed
        )
    for name, found in stack.shared.items():
        _judge(place(name), difference(found, wanted[name].detach()), 0.0)


def compare_outcomes(task: Task, found: Outcome, wanted: Outcome, allowed: float) -> None:
    """See that loss, output and metrics of a batch are as they should be.

    Raises:
        UnlikeError: If they are not.
    """
    compare_tensors("the evaluated loss", found.scalar, wanted.scalar, allowed, LOSS_FLOOR)
    _compare_nests("the output", found.output, wanted.output, allowed)
    _compare_nests("the target", found.target, wanted.target, allowed)
    metrics = [one.metrics | measured_metrics(task, one.output, one.target) for one in (found, wanted)]
    if missing := metrics[1].keys() ^ metrics[0].keys():
        raise UnlikeError(f"the metric '{min(missing)}' cannot be measured: the output is no nest of tensors")
    for name, metric in metrics[0].items():
        compare_tensors(
            f"the metric '{name}'",
            metric.cpu().double(),
            metrics[1][name].cpu().double(),
            allowed,
            LOSS_FLOOR,
        )


def _compare_nests(what: str, found: Any, wanted: Any, allowed: float) -> None:
    if found is None:  # no nest of tensors; that matters only to metrics, which are compared
        return
    for one, other in zip(tensors_of(found), tensors_of(wanted), strict=True):
        compare_tensors(what, one, other, allowed)


def place(name: str) -> str:
    """Return a tensor's name as a message has it.

    >>> place("3.bn.running_mean"), place("scale")
    ('layer 3.bn: running_mean', 'scale')
    """
    layer, _, own = name.rpartition(".")
    return f"layer {layer}: {own}" if layer else own


def _judge(what: str, apart: float, allowed: float) -> None:
    if apart == torch.inf:
        raise UnlikeError(f"{what} differs")
    if apart > allowed:
        raise DifferentError(f"{what} differs by {apart:.1e}")
