"""A few numbers of a parameter, those of its largest gradients: what moves at all moves there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.parameters.backward import dense

if TYPE_CHECKING:
    from torch import Tensor

_WATCHED = 64  # numbers of each parameter
_MARGIN = 1e6  # roundings that plain descent should move a number by at the surer rate: clipping and damping divide it


@dataclass(frozen=True)
class Largest:
    """The places and sizes of a gradient's largest numbers."""

    indices: Tensor
    values: Tensor


def largest_of(gradient: Tensor) -> Largest:
    """Return where a gradient is largest, and how large."""
    flat = dense(gradient).detach().flatten().abs()
    found = flat.topk(min(_WATCHED, flat.numel()))
    return Largest(found.indices, found.values)


class Watched:
    """The numbers of a parameter that have its largest gradients.

    Args:
        parameter: As it is at first.
        largest: Of its gradient.

    Attributes:
        left: Whether a look has ever found another number than at first.
    """

    def __init__(self, parameter: Tensor, largest: Largest) -> None:
        self._indices = largest.indices
        self._gradient = largest.values.cpu().double()  # in this order: MPS knows no doubles
        self._first = self._taken(parameter).clone()
        self.left = False

    def _taken(self, parameter: Tensor) -> Tensor:
        return parameter.flatten()[self._indices.to(parameter.device)]

    def differs(self, parameter: Tensor) -> bool:
        """Say whether any of the numbers is another than at first; remember that one has been."""
        differs = not torch.equal(self._taken(parameter), self._first)
        self.left = self.left or differs
        return differs

    def rate_to_move(self) -> float:
        """Return a rate at which plain gradient descent moves a number by several roundings."""
        size = self._first.abs().cpu().double()
        spacing = torch.finfo(self._first.dtype).eps * size.clamp(min=torch.finfo(self._first.dtype).tiny)
        return float((_MARGIN * spacing / self._gradient.clamp(min=1e-300)).min())
