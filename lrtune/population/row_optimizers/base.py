"""What an optimizer on rows is: K members' parameters, stacked, updated by one set of kernels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from lrtune.population.row_optimizers.numbers import StepNumbers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

# Where one kernel over all rows rounds as a kernel a row does; elsewhere each row is updated by itself.
_EXACT_IN_ROWS = frozenset({torch.float32, torch.float64})


class RowOptimizer(ABC):
    """Updates stacked parameters, each row with its member's learning rate and weight decay.

    Row k moves as an optimizer of its own moves it, whatever the other rows hold.

    Args:
        parameters: Each `[members, *shape]`; changed in place.
    """

    @abstractmethod
    def __init__(self, parameters: Sequence[Tensor]) -> None: ...

    @abstractmethod
    def step(
        self, gradients: Sequence[Tensor | None], rates: Sequence[float], decays: Sequence[float]
    ) -> None:
        """Update every parameter that has a gradient.

        Args:
            gradients: As the parameters, each `[members, *shape]`; None leaves a parameter and its state alone.
            rates: Learning rates, `[members]`.
            decays: Weight decays, `[members]`.
        """

    @abstractmethod
    def keep(self, rows: Sequence[int], parameters: Sequence[Tensor]) -> None:
        """Drop the state of all other rows.

        Args:
            rows: Positions among the rows so far, in their new order.
            parameters: What is updated from now on, each `[len(rows), *shape]`.
        """


@dataclass
class Block:
    """Rows of one parameter that are updated together, and what is remembered of them.

    Attributes:
        parameter: `[rows, *shape]`.
        steps: How many steps had a gradient for it.
        memory: Averages and the like, each `[rows, *shape]`.
    """

    parameter: Tensor
    steps: int = 0
    memory: dict[str, Tensor] = field(default_factory=dict)


class StackedOptimizer(RowOptimizer):
    """An optimizer whose arithmetic is written for rows.

    Bitwise equal to `torch.optim` on the CPU (its single-tensor path), and on an accelerator as close as two
    orders of rounding are.

    Args:
        parameters: Each `[members, *shape]`, of a floating-point type.
        settings: The keywords of the class in `torch.optim`, with its defaults filled in.

    Raises:
        TypeError: If a parameter is not of a floating-point type.
    """

    keywords: ClassVar[frozenset[str]]  # the settings that the arithmetic knows

    def __init__(self, parameters: Sequence[Tensor], settings: Mapping[str, Any]) -> None:
        for parameter in parameters:
            if not parameter.is_floating_point():
                raise TypeError(f"expected floating-point parameters, got {parameter.dtype}")
        self._maximize = bool(settings["maximize"])
        self._members = len(parameters[0]) if parameters else 0
        self._blocks = [[Block(piece) for piece in _pieces(parameter)] for parameter in parameters]

    def step(
        self, gradients: Sequence[Tensor | None], rates: Sequence[float], decays: Sequence[float]
    ) -> None:
        """Update every parameter that has a gradient; see `RowOptimizer.step`.

        Raises:
            ValueError: If there is not one rate and one decay a member.
        """
        if not len(rates) == len(decays) == self._members:
            raise ValueError(
                f"expected {self._members} rates and decays, got {len(rates)} rates and {len(decays)} decays"
            )
        together = StepNumbers(rates, decays)
        singly: list[StepNumbers] = []
        with torch.no_grad():
            for blocks, gradient in zip(self._blocks, gradients, strict=True):
                if gradient is None:
                    continue
                if len(blocks) > 1 and not singly:
                    singly = [together.row(index) for index in range(self._members)]
                numbers = singly if len(blocks) > 1 else [together]
                for block, piece, own in zip(blocks, _pieces(gradient), numbers, strict=True):
                    block.steps += 1
                    self._update(block, -piece if self._maximize else piece, own)

    def keep(self, rows: Sequence[int], parameters: Sequence[Tensor]) -> None:
        """Drop the state of all other rows; see `RowOptimizer.keep`."""
        kept = [
            _kept(blocks, rows, parameter) for blocks, parameter in zip(self._blocks, parameters, strict=True)
        ]
        self._blocks, self._members = kept, len(rows)

    @abstractmethod
    def _update(self, block: Block, gradient: Tensor, numbers: StepNumbers) -> None:
        """Update a block, whose steps count this one; the gradient is not to be changed in place."""


def _pieces(tensor: Tensor) -> Sequence[Tensor]:
    """Return what is updated together: all rows, or each `[1, *shape]` by itself."""
    return [tensor] if tensor.dtype in _EXACT_IN_ROWS else torch.split(tensor.detach(), 1)


def _kept(blocks: list[Block], rows: Sequence[int], parameter: Tensor) -> list[Block]:
    pieces = _pieces(parameter)
    if parameter.dtype not in _EXACT_IN_ROWS:
        chosen = [blocks[row] for row in rows]
        return [Block(piece, old.steps, old.memory) for piece, old in zip(pieces, chosen, strict=True)]
    index = torch.tensor(rows, dtype=torch.long, device=parameter.device)
    memory = {name: value.index_select(0, index) for name, value in blocks[0].memory.items()}
    return [Block(parameter, blocks[0].steps, memory)]
