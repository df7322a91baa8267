"""What a loss of the user's own is, by how it behaves: called on outputs that are known, or with labels left out.

A loss over classes that gives ln C for logits of zero and does not see a constant added to them is softmax
cross-entropy, whatever class weights or label smoothing it has. One that gives minus ln C has its sign turned.
"""

from __future__ import annotations

import functools
import math
import warnings
from dataclasses import replace
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.losses import constant_outputs as constant
from lrtune.probes.losses.loss_family import (
    FAMILIES,
    LossFamily,
    LossFunction,
    declared_family,
    matching_family,
)
from lrtune.probes.losses.same_number import same


def quiet(loss: LossFunction, output: torch.Tensor, target: torch.Tensor) -> float | None:
    """Return a loss's number without torch's warnings, None where it raises or gives no one finite number."""
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = loss(output.clone(), target.clone())
            found = float(value) if value.numel() == 1 else math.nan
    except Exception:  # the user's code on outputs that no model of theirs gave: it may raise anything
        return None
    return found if math.isfinite(found) else None


def drawn_like(output: torch.Tensor) -> torch.Tensor:
    """Return standard normal numbers of an output's shape and device, the same at each call."""
    draw = torch.randn(output.shape, generator=torch.Generator().manual_seed(0))
    return draw.to(output)


def told_family(loss: LossFunction | None, value: float, output: Any, target: Any) -> LossFamily | None:
    """Return the family of a loss: by its name, its number, its behaviour, or its number without one label.

    Args:
        loss: The user's own; None for a step, of which only the number is known.
        value: What it gave for the output and target.
        output: The model's.
        target: What it was compared with.
    """
    found = declared_family(loss) or matching_family(value, output, target)
    if found is not None or not (isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor)):
        return found
    if not constant.fits_classes(output, target):
        return None
    softmax = FAMILIES[0]
    if loss is not None and sign_of(loss, output, target):
        return softmax
    if same(value, -_quiet_reference(softmax, output, target)):
        return softmax
    return _without_padding(value, output, target) if loss is None else None


def sign_of(loss: LossFunction, output: torch.Tensor, target: torch.Tensor) -> int:
    """Return 1 for a form of softmax cross-entropy over `[batch, classes, ...]`, -1 for its negative, else 0."""
    if output.ndim < 2 or output.shape[1] < 2:
        return 0
    drawn = drawn_like(output)
    moved = drawn + 3 * drawn_like(output[:, :1])
    values = [quiet(loss, one, target) for one in (torch.zeros_like(output), drawn, moved)]
    if any(value is None for value in values):
        return 0
    zero, random, shifted = (value for value in values if value is not None)
    if not same(abs(zero), math.log(output.shape[1])) or not same(random, shifted) or same(zero, random):
        return 0
    return 1 if zero > 0 else -1


def _quiet_reference(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> float:
    found = quiet(family.reference, output.detach(), target)
    return math.nan if found is None else found


def _without_padding(value: float, output: torch.Tensor, target: torch.Tensor) -> LossFamily | None:
    """Return softmax cross-entropy that leaves out one label, such as padding, where it gives the number."""
    logits, labels = constant.flat_classes(output.detach(), target)
    kept = labels[labels >= 0].long()
    if kept.numel() == 0 or int(kept.max()) >= logits.shape[1]:
        return None
    frequent = int(torch.bincount(kept).argmax())
    for label in dict.fromkeys((0, frequent, logits.shape[1] - 1)):
        reference = functools.partial(_cross_entropy_without, ignore_index=label)
        found = quiet(reference, output.detach(), target)
        if found is not None and same(found, value):
            return replace(FAMILIES[0], reference=reference)
    return None


def _cross_entropy_without(output: torch.Tensor, target: torch.Tensor, ignore_index: int) -> torch.Tensor:
    logits, labels = constant.flat_classes(output, target)
    return F.cross_entropy(logits, labels.long(), ignore_index=ignore_index)
