"""Whether one of torch's losses takes a target of this type beside the output's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from lrtune.probes.losses.loss_family import LossFamily, LossFunction


def refused_type(
    loss: LossFunction | None, family: LossFamily, output: torch.Tensor, target: torch.Tensor
) -> tuple[str, str] | None:
    """Return the types of target and output if one of torch's losses, or its gradient, raises on the two together.

    Which do depends on the loss and on torch's version, so that it is tried, on numbers that any loss allows.
    """
    if (
        loss is None
        or family.kind == "classes"
        or target.dtype == output.dtype
        or not target.is_floating_point()
    ):
        return None
    with torch.enable_grad():
        values = torch.full(
            output.shape[:1], 0.5, dtype=output.dtype, device=output.device, requires_grad=True
        )
        other = torch.full_like(values, 0.5, dtype=target.dtype, requires_grad=False)
        try:
            torch.autograd.grad(loss(values, other).sum(), values)
        except RuntimeError as error:
            names = tuple(str(one.dtype).removeprefix("torch.") for one in (target, output))
            return (names[0], names[1]) if "dtype" in str(error).lower() else None
    return None
