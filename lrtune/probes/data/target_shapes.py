"""Whether an output and its target have shapes that belong together, and what a loss makes of them if not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.losses.loss_behaviour import drawn_like, quiet
from lrtune.probes.losses.loss_family import FAMILIES, declared_family
from lrtune.probes.losses.same_number import same

if TYPE_CHECKING:
    from lrtune.probes.losses.loss_family import LossFamily, LossFunction
    from lrtune.probes.sample import Sample

_PAIRED = 2  # examples without which an order means nothing
_FLOAT32 = 1e-5  # relative difference of one sum taken in two orders


@dataclass(frozen=True)
class Misfit:
    """An output and a target whose shapes do not belong together.

    Attributes:
        output: Shape of the output.
        target: Shape of the target.
        broadcast: Shape that both are blown up to, None where the loss raises instead.
        fix: The expression that makes them fit.
        loss: Name of the loss, empty where it is the user's own.
        one_class: Whether the shapes fit, but leave a softmax a single class.
    """

    output: list[int]
    target: list[int]
    broadcast: list[int] | None
    fix: str
    loss: str = ""
    one_class: bool = False


# --- by shape, before the loss is called ------------------------------------------------------------------------


def misfit(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> Misfit | None:
    """Return what is wrong with the shapes under one of torch's own losses, None if nothing.

    Args:
        family: The loss, as torch defines it.
        output: `[batch, ...]`.
        target: Of a type that the loss takes.
    """
    if family.kind == "classes":
        return _one_class(family, output, target) or _class_misfit(family, output, target)
    if output.shape == target.shape:
        return None
    blown_up = _broadcast_shape(output, target)
    # A broadcast that repeats nothing is harmless, but binary losses take none.
    if family.kind != "binary" and blown_up and math.prod(blown_up) == output.numel() == target.numel():
        return None
    return Misfit(
        list(output.shape),
        list(target.shape),
        None if family.kind == "binary" else blown_up,
        aligning(output, target),
        family.name,
    )


def _one_class(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> Misfit | None:
    dimension = family.dimension(output, target)
    if dimension is None or dimension >= output.ndim or output.shape[dimension] != 1:
        return None
    return Misfit(list(output.shape), list(target.shape), None, "", family.name, one_class=True)


def _class_misfit(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> Misfit | None:
    if target.is_floating_point() or output.ndim == 0:
        return None  # class probabilities, whose shape tells that they are some
    alone = output.ndim == 1 and target.ndim == 0
    if alone or (output.ndim > 1 and target.shape == output.shape[:1] + output.shape[2:]):
        return None
    return Misfit(
        list(output.shape), list(target.shape), None, _aligning_classes(output, target), family.name
    )


def _aligning_classes(output: torch.Tensor, target: torch.Tensor) -> str:
    shape, labels = tuple(output.shape), tuple(target.shape)
    if shape == labels and bool(((target == 0) | (target == 1)).all()):
        return "target.argmax(1)"
    if output.ndim == target.ndim + 1 and shape[:-1] == labels:
        return "output.transpose(1, 2)" if output.ndim == 3 else "output.movedim(-1, 1)"
    for dimension in range(1, target.ndim):
        if labels[dimension] == 1 and labels[:dimension] + labels[dimension + 1 :] == shape[:1] + shape[2:]:
            return f"target.squeeze({dimension})"
    if output.ndim == 2 and target.numel() == shape[0]:
        return "target.flatten()"
    if target.ndim == 1 and output.ndim > 2 and math.prod(shape[:-1]) == labels[0]:
        return "output.flatten(0, -2)"
    return ""


def aligning(output: torch.Tensor, target: torch.Tensor) -> str:
    """Return the expression that gives the target, or the output, the other's shape; empty where there is none."""
    shape, wanted = tuple(target.shape), tuple(output.shape)
    for dimension, length in enumerate(wanted):
        if length == 1 and wanted[:dimension] + wanted[dimension + 1 :] == shape:
            return f"target.unsqueeze({dimension})"
    for dimension, length in enumerate(shape):
        if length == 1 and shape[:dimension] + shape[dimension + 1 :] == wanted:
            return f"target.squeeze({dimension})"
    if len(shape) == len(wanted) and shape[:1] == wanted[:1] and sorted(shape) == sorted(wanted):
        order = next(o for o in permutations(range(len(shape))) if tuple(shape[i] for i in o) == wanted)
        return f"target.permute{order}"
    return "target.reshape(output.shape)" if target.numel() == output.numel() else ""


def _broadcast_shape(output: torch.Tensor, target: torch.Tensor) -> list[int] | None:
    try:
        return list(torch.broadcast_shapes(output.shape, target.shape))  # type: ignore[no-untyped-call]
    except RuntimeError:
        return None


# --- by behaviour, of a loss of the user's own -------------------------------------------------------------------


def broadcast(
    loss: LossFunction | None, output: Any, target: Any, value: float | None = None
) -> Misfit | None:
    """Return the shapes if a loss compares every output with every target, as broadcasting makes it do.

    `[batch, 1]` against `[batch]` gives `[batch, batch]`. A loss that does so does not see the order of its target,
    where with the target's shape made right it does; a loss that squeezes by itself sees it either way. Of a step
    only the number is known: it must be that of one of torch's losses on the blown-up pair, and not on the pair made
    right.

    Args:
        loss: Of output and target; None for a step.
        output: Whose shape counts; for a step the output itself.
        target: What it was compared with.
        value: The number that a step gave.
    """
    if not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return None
    shape = _broadcast_shape(output, target)
    many = shape is not None and math.prod(shape) > output.numel() == target.numel()
    if not many or not output.is_floating_point() or len(target) < _PAIRED:
        return None
    crossed = _ignores_order(loss, output, target) if loss else _matches_crossed(value, output, target)
    if not crossed:
        return None
    known = declared_family(loss)
    return Misfit(
        list(output.shape),
        list(target.shape),
        shape,
        aligning(output, target) or "target.reshape(output.shape)",
        known.name if known else "",
    )


def _ignores_order(loss: LossFunction, output: torch.Tensor, target: torch.Tensor) -> bool:
    drawn = drawn_like(output).sigmoid()  # valid as a number, as a probability and as a rate
    order = torch.randperm(target.numel(), generator=torch.Generator().manual_seed(1)).to(target.device)
    other = target.flatten()[order].reshape(target.shape)
    as_it_is = [quiet(loss, drawn, one) for one in (target, other)]
    aligned = [quiet(loss, drawn, one.reshape(output.shape)) for one in (target, other)]
    if any(one is None for one in (*as_it_is, *aligned)):
        return False
    (first, second), (right, changed) = ([one or 0.0 for one in pair] for pair in (as_it_is, aligned))
    return _alike(first, second) and not _alike(right, changed) and not _alike(first, right)


def _alike(one: float, other: float) -> bool:
    return same(one, other, _FLOAT32)


def _matches_crossed(value: float | None, output: torch.Tensor, target: torch.Tensor) -> bool:
    if value is None:
        return False
    output, target = output.detach(), target.to(output.dtype)
    crossed = torch.broadcast_tensors(output, target)  # type: ignore[no-untyped-call]
    aligned = target.reshape(output.shape)
    for family in FAMILIES:
        if family.kind == "classes" or not family.fits(output, aligned):
            continue
        blown_up, right = quiet(family.reference, *crossed), quiet(family.reference, output, aligned)
        if blown_up is not None and right is not None and _alike(blown_up, value) and not same(right, value):
            return True
    return False


def broadcast_target(sample: Sample) -> Misfit | None:
    """Measure whether the task's own loss or step blows its target up; torch's losses are judged before they run."""
    own = sample.program.task.loss
    if declared_family(own) is not None:
        return None
    first = sample.first
    if own is not None:
        return broadcast(own, first.output, first.target)
    found = broadcast(None, first.output, first.target, float(first.scalar))
    if found is not None or not isinstance(first.output, torch.Tensor) or bool(first.output.any()):
        return found
    awake = sample.run(sample.awake, sample.batches[0], training=True)  # zeros fit every target alike
    return broadcast(None, awake.output, awake.target, float(awake.scalar))


def own_misfit(sample: Sample) -> Misfit | None:
    """Measure what is wrong with the shapes under a loss of the user's own, or a step: as above, or a lone class."""
    found = broadcast_target(sample)
    if found is not None or declared_family(sample.program.task.loss) is not None or sample.family is None:
        return found
    return _one_class(sample.family, sample.first.output, sample.first.target)


def blown_up(sample: Sample) -> Misfit | None:
    """Measure whether the target is blown up by whatever loss there is, so that most pairs belong to no example."""
    own, first = sample.program.task.loss, sample.first
    family = declared_family(own)
    if family is None:
        return broadcast_target(sample)
    tensors = isinstance(first.output, torch.Tensor) and isinstance(first.target, torch.Tensor)
    found = misfit(family, first.output, first.target) if tensors else None
    return found if found is not None and found.broadcast else None
