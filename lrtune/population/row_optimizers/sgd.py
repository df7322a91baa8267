"""Stochastic gradient descent on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.population.row_optimizers.base import Block, StackedOptimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from lrtune.population.row_optimizers.numbers import StepNumbers


class SGDRows(StackedOptimizer):
    """`torch.optim.SGD`: b = momentum x b + (1 - dampening) x g; p = p - rate x b."""

    keywords = frozenset({"momentum", "dampening", "nesterov", "maximize"})

    def __init__(self, parameters: Sequence[Tensor], settings: Mapping[str, Any]) -> None:
        super().__init__(parameters, settings)
        self._momentum = settings["momentum"]
        self._dampening = settings["dampening"]
        self._nesterov = settings["nesterov"]

    def _update(self, block: Block, gradient: Tensor, numbers: StepNumbers) -> None:
        gradient = numbers.decays.plus_product_where_nonzero(gradient, block.parameter)
        if self._momentum != 0:
            average = self._averaged(block, gradient)
            gradient = gradient.add(average, alpha=self._momentum) if self._nesterov else average
        numbers.descent.add_product_(block.parameter, gradient)

    def _averaged(self, block: Block, gradient: Tensor) -> Tensor:
        average = block.memory.get("average")
        if average is None:  # the first gradient counts whole: dampening spares it
            average = block.memory["average"] = gradient.detach().clone()
        else:
            average.mul_(self._momentum).add_(gradient, alpha=1 - self._dampening)
        return average
