"""Any optimizer on rows: a real instance a member, on views of the stacked parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from lrtune.errors import UserCodeError, user_code
from lrtune.population.failures import freed
from lrtune.population.group_rates import GroupRates
from lrtune.population.row_optimizers.base import RowOptimizer

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import torch
    from torch import Tensor


class InstanceRows(RowOptimizer):
    """K optimizers, each on a row of every parameter.

    A row is handed out as an ordinary leaf `nn.Parameter` that shares the stack's memory.

    Args:
        parameters: Each `[members, *shape]`.
        build: `(row, parameters) -> Optimizer`; the row's number tells the caller its member, whose rate and
            decay the instance starts with.
        rates: The learning rates that `build` gives, `[members]`. Each group keeps its multiple of them.
        fixed: The positions of the groups that have rates of their own instead.
    """

    def __init__(
        self,
        parameters: Sequence[Tensor],
        build: Callable[[int, list[nn.Parameter]], torch.optim.Optimizer],
        rates: Sequence[float],
        fixed: Collection[int] = (),
    ) -> None:
        stacks = list(parameters)
        self._rows = [_Row(index, stacks, build, rate, fixed) for index, rate in enumerate(rates)]

    @property
    def failures(self) -> tuple[UserCodeError | None, ...]:
        """What each row's optimizer raised, if anything; such a row has stopped."""
        return tuple(row.failure for row in self._rows)

    def step(
        self, gradients: Sequence[Tensor | None], rates: Sequence[float], decays: Sequence[float]
    ) -> None:
        """Step every instance; see `RowOptimizer.step`.

        The decays are not set: each instance was built with its own, which may differ among its groups.
        """
        for index, (row, rate) in enumerate(zip(self._rows, rates, strict=True)):
            row.step([None if gradient is None else gradient[index] for gradient in gradients], rate)

    def keep(self, rows: Sequence[int], parameters: Sequence[Tensor]) -> None:
        """Drop all other instances; see `RowOptimizer.keep`."""
        self._rows = [self._rows[row] for row in rows]
        for index, row in enumerate(self._rows):
            row.move([parameter.detach()[index] for parameter in parameters])


class _Row:
    """One member's parameters and optimizer."""

    def __init__(
        self,
        index: int,
        stacks: list[Tensor],
        build: Callable[[int, list[nn.Parameter]], torch.optim.Optimizer],
        rate: float,
        fixed: Collection[int],
    ) -> None:
        self.failure: UserCodeError | None = None
        self._places = [stack.detach()[index] for stack in stacks]
        self._parameters = [nn.Parameter(place) for place in self._places]
        self._optimizer = build(index, self._parameters)
        self._rates = GroupRates(self._optimizer, rate, fixed)

    def step(self, gradients: Sequence[Tensor | None], rate: float) -> None:
        if self.failure is not None:
            return
        self._rates.set(rate)
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        try:
            with user_code("stepping the optimizer"):
                self._optimizer.step()
        except UserCodeError as error:
            self.failure = freed(error)
        for parameter, place in zip(self._parameters, self._places, strict=True):
            parameter.grad = None
            if parameter.data_ptr() != place.data_ptr():  # it put a new tensor in the place of the old
                place.copy_(parameter.detach())
                parameter.data = place

    def move(self, places: list[Tensor]) -> None:
        """Go on in other memory, which holds the same values; the optimizer's state stays with the parameters."""
        self._places = places
        for parameter, place in zip(self._parameters, places, strict=True):
            parameter.data = place
