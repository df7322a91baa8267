"""Checks of the inputs and targets, before anything is computed from them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.data.examples import NotFinite
    from lrtune.probes.data.target_values import Answers
    from lrtune.probes.losses.loss_family import LossFamily
    from lrtune.results import Finding

_BINARY_FIX = (
    "Binary targets lie in 0 to 1: divide by 255, or compare with a threshold: (target > 0).float()."
)
_COUNT_FIX = "Look for what makes a count negative, such as a normalisation or a code for missing values."
_INDICES = (torch.int64, torch.uint8)  # the types of class indices that torch's losses take


def nonfinite_input(seen: NotFinite) -> Finding | None:
    """No input may hold NaN or infinities."""
    return _nonfinite("nonfinite-input", "inputs", seen)


def nonfinite_target(seen: NotFinite) -> Finding | None:
    """No target may hold NaN or infinities."""
    return _nonfinite("nonfinite-target", "targets", seen)


def _nonfinite(code: str, what: str, seen: NotFinite) -> Finding | None:
    if seen.values == 0:
        return None
    values = f"{seen.values} value{'' if seen.values == 1 else 's'}"
    message = f"{seen.examples} of {seen.of_examples} {what} hold NaN or infinity ({values})."
    return finding(code, message, seen.values, "0")


def target_dtype(family: LossFamily, output: torch.Tensor, target: Any) -> Finding | None:
    """Class indices are int64; everything that is compared with a real output is floating point.

    Args:
        family: The declared loss.
        output: The model's output, `[batch, ...]`.
        target: As the batch holds it.
    """
    if not isinstance(target, torch.Tensor):
        return finding(
            "target-dtype", f"The target is a {type(target).__name__}, no tensor.", type(target).__name__
        )
    found = str(target.dtype).removeprefix("torch.")
    if family.kind == "classes":
        if target.dtype in _INDICES or _probabilities(family, output, target):
            return None
        message = f"The target is {found}; {family.name} takes class indices as int64."
        return finding("target-dtype", message, found, "int64", fix="Convert the labels once: target.long().")
    if target.is_floating_point() or family.counts:  # counts may be whole numbers
        return None
    message = f"The target is {found}; {family.name} compares it with a floating-point output."
    return finding("target-dtype", message, found, "float32", fix="Convert the targets once: target.float().")


def target_type_refused(family: LossFamily, refused: tuple[str, str] | None) -> Finding | None:
    """The loss takes a target of another precision than the output's; some of torch's do.

    Args:
        family: The declared loss.
        refused: The types of target and output with which it raised.
    """
    if refused is None:
        return None
    target, output = refused
    message = f"The target is {target} and the output {output}; {family.name} raises on the two together."
    return finding(
        "target-dtype", message, target, output, fix=f"Convert the targets once: target.to(torch.{output})."
    )


def _probabilities(family: LossFamily, output: torch.Tensor, target: torch.Tensor) -> bool:
    # Without the first dimension: a last batch is shorter than the one whose output is known.
    alike = target.ndim == output.ndim and target.shape[1:] == output.shape[1:]
    return alike and target.ndim > 1 and family.fits(torch.zeros_like(target), target)


def target_out_of_range(
    family: LossFamily, classes: int, target: torch.Tensor, ignore: int
) -> Finding | None:
    """Class indices lie in 0 to C-1, targets of a binary loss in 0 to 1, counts above 0.

    Args:
        family: The declared loss.
        classes: C, the width of the output.
        target: `[examples, ...]`, of the right type.
        ignore: An index that the loss leaves out.
    """
    if family.counts:
        return _outside(target.cpu().double(), 0, math.inf, "counts are not negative", _COUNT_FIX)
    if family.kind == "binary":
        return _outside(target.cpu().double(), 0, 1, "a binary target lies between 0 and 1", _BINARY_FIX)
    if family.kind != "classes" or target.is_floating_point():
        return None
    labels = target.cpu().long()
    labels = labels[labels != ignore]
    return _outside(labels, 0, classes - 1, f"the model's output has {classes} classes")


def answers_out_of_range(seen: Answers) -> Finding | None:
    """The answers to a recognised loss of yes and no lie in 0 to 1, too."""
    return target_out_of_range(seen.family, 2, seen.targets, ignore=-100)


def _outside(
    values: torch.Tensor, low: int, high: float, because: str, fix: str | None = None
) -> Finding | None:
    if values.numel() == 0:
        return None
    least, most = float(values.min()), float(values.max())
    if least >= low and most <= high:
        return None
    count = int(((values < low) | (values > high)).sum())
    message = f"{count} targets lie outside {low} to {high} (found {least:g} to {most:g}): {because}."
    worst = least if least < low else most
    return finding("target-out-of-range", message, worst, f"{low} to {high}", fix)


# What torch's losses say of targets that they do not take, called somewhere inside a step.
_REFUSALS = (
    (r"Target -?\d+ is out of bounds", "target-out-of-range"),
    (r"can't be cast to the desired output type (Long|Int|Bool)", "target-dtype"),
    (r"all elements of target should be between 0 and 1", "target-out-of-range"),
    (r"Expected input batch_size \(\d+\) to match target batch_size", "target-shape-mismatch"),
    (
        r"(Using a t|T)arget size .* (different to|must be the same as) (the )?input size",
        "target-shape-mismatch",
    ),
    (r"multi-target not supported|batches of spatial targets|Expected target size", "target-shape-mismatch"),
    (
        r"expected (scalar type Long but found|target dtype to be)|Found dtype \w+ but expected",
        "target-dtype",
    ),
    (r"Expected floating point type for target with class probabilities", "target-dtype"),
    (r"\"nll_loss\S*\" not implemented for", "target-dtype"),
)


def refused_by_torch(message: str) -> Finding | None:
    """One of torch's losses has not refused the target.

    Args:
        message: Of the exception that the user's code raised.
    """
    first = next((line for line in message.splitlines() if line.strip()), "")
    code = next((code for pattern, code in _REFUSALS if re.search(pattern, message)), None)
    return finding(code, f"The loss raises on the first batch: {first}") if code else None
