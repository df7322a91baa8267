"""Adagrad on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.row_optimizers.base import Block, StackedOptimizer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from lrtune.population.row_optimizers.numbers import StepNumbers


class AdagradRows(StackedOptimizer):
    """`torch.optim.Adagrad`: s = s + g²; p = p - rate / (1 + (t - 1) x lr_decay) x g / (sqrt(s) + eps)."""

    keywords = frozenset({"lr_decay", "initial_accumulator_value", "eps", "maximize"})

    def __init__(self, parameters: Sequence[Tensor], settings: Mapping[str, Any]) -> None:
        super().__init__(parameters, settings)
        self._lr_decay = settings["lr_decay"]
        self._initial = settings["initial_accumulator_value"]
        self._eps = settings["eps"]

    def _update(self, block: Block, gradient: Tensor, numbers: StepNumbers) -> None:
        gradient = numbers.decays.plus_product_where_nonzero(gradient, block.parameter)
        if not block.memory:
            block.memory["sum"] = torch.full_like(block.parameter, self._initial)
        total = block.memory["sum"].addcmul_(gradient, gradient, value=1)
        slowdown = 1 + (block.steps - 1) * self._lr_decay
        descent = numbers.derived(slowdown, lambda rate, _: -(rate / slowdown))
        descent.add_quotient_(block.parameter, gradient, total.sqrt().add_(self._eps))
