"""Adam on rows, with weight decay in the gradient (Adam) or beside it (AdamW)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.row_optimizers.base import Block, StackedOptimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from lrtune.population.row_optimizers.numbers import StepNumbers


class AdamRows(StackedOptimizer):
    """`torch.optim.Adam` and `AdamW`: p = p - rate / (1 - beta1^t) x m / (sqrt(v / (1 - beta2^t)) + eps)."""

    keywords = frozenset({"betas", "eps", "amsgrad", "maximize", "decoupled_weight_decay"})

    def __init__(self, parameters: Sequence[Tensor], settings: Mapping[str, Any]) -> None:
        super().__init__(parameters, settings)
        self._beta1, self._beta2 = settings["betas"]
        self._eps = settings["eps"]
        self._amsgrad = settings["amsgrad"]
        self._decoupled = settings["decoupled_weight_decay"]

    def _update(self, block: Block, gradient: Tensor, numbers: StepNumbers) -> None:
        if not self._decoupled:
            gradient = numbers.decays.plus_product_where_nonzero(gradient, block.parameter)
        elif any(numbers.decays.values):
            numbers.derived("shrinkage", _shrinkage).scale_(block.parameter)
        mean, square = self._moments(block, gradient)
        steps = block.steps
        root = (1 - self._beta2**steps) ** 0.5
        denominator = square.sqrt().div_(root).add_(self._eps)
        correction = 1 - self._beta1**steps
        # By its count: a parameter that took no part in some steps is behind the others.
        descent = numbers.derived(steps, lambda rate, _: -(rate / correction))
        descent.add_quotient_(block.parameter, mean, denominator)

    def _moments(self, block: Block, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean of the gradient and of its square, or the largest that this has been."""
        memory = block.memory
        if not memory:
            names = ("mean", "square", "largest") if self._amsgrad else ("mean", "square")
            memory.update({name: torch.zeros_like(block.parameter) for name in names})
        memory["mean"].lerp_(gradient, 1 - self._beta1)
        memory["square"].mul_(self._beta2).addcmul_(gradient, gradient, value=1 - self._beta2)
        if not self._amsgrad:
            return memory["mean"], memory["square"]
        torch.maximum(memory["largest"], memory["square"], out=memory["largest"])
        return memory["mean"], memory["largest"]


def _shrinkage(rate: float, decay: float) -> float:
    # Without a decay exactly 1, at an infinite rate too, which leaves every bit of a row as it is.
    return 1 - rate * decay if decay != 0 else 1.0
