"""RMSprop on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.row_optimizers.base import Block, StackedOptimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from lrtune.population.row_optimizers.numbers import StepNumbers


class RMSpropRows(StackedOptimizer):
    """`torch.optim.RMSprop`: v = alpha x v + (1 - alpha) x g²; p = p - rate x g / (sqrt(v) + eps)."""

    keywords = frozenset({"alpha", "eps", "momentum", "centered", "maximize"})

    def __init__(self, parameters: Sequence[Tensor], settings: Mapping[str, Any]) -> None:
        super().__init__(parameters, settings)
        self._alpha = settings["alpha"]
        self._eps = settings["eps"]
        self._momentum = settings["momentum"]
        self._centered = settings["centered"]

    def _update(self, block: Block, gradient: Tensor, numbers: StepNumbers) -> None:
        gradient = numbers.decays.plus_product_where_nonzero(gradient, block.parameter)
        if not block.memory:
            block.memory.update({name: torch.zeros_like(block.parameter) for name in self._names()})
        root = self._root(block, gradient).add_(self._eps)
        if self._momentum > 0:
            velocity = block.memory["velocity"].mul_(self._momentum).addcdiv_(gradient, root)
            numbers.descent.add_product_(block.parameter, velocity)
        else:
            numbers.descent.add_quotient_(block.parameter, gradient, root)

    def _names(self) -> list[str]:
        optional = {"mean": self._centered, "velocity": self._momentum > 0}
        return ["square", *(name for name, wanted in optional.items() if wanted)]

    def _root(self, block: Block, gradient: Tensor) -> Tensor:
        """Return the root mean square of the gradient, or its standard deviation if centered."""
        square = block.memory["square"].mul_(self._alpha)
        square.addcmul_(gradient, gradient, value=1 - self._alpha)
        if not self._centered:
            return square.sqrt()
        mean = block.memory["mean"].lerp_(gradient, 1 - self._alpha)
        return square.addcmul(mean, mean, value=-1).sqrt_()
