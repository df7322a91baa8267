"""Which parameter groups of an optimizer follow a schedule of the learning rate, and how."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.random_state import preserved

if TYPE_CHECKING:
    from collections.abc import Collection

    import torch

    from lrtune.population.program import Program

# Far apart, so that a rate which is only bounded (`min(lr, 1e-3)`) is seen to move.
_LOW, _HIGH = 1e-6, 1.0


class GroupRates:
    """Sets the rates of an optimizer's groups.

    A group may have a multiple of the learning rate, which is kept, or a rate of its own (`{"params": head, "lr":
    1e-2}`), which a schedule must leave alone: as a multiple of a sweep's first rate, 1e-7, it would be swept from
    1e-2 up to 1e6.

    Args:
        optimizer: As built.
        rate: The learning rate that it was built with.
        fixed: The positions of the groups whose rate does not depend on it.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, rate: float, fixed: Collection[int] = ()) -> None:
        self._rate = rate
        self._moving = [
            (group, float(group["lr"]) / rate)
            for position, group in enumerate(optimizer.param_groups)
            if position not in fixed
        ]

    def set(self, rate: float) -> None:
        """Bring the moving groups to a learning rate; one that is set already stays exactly as it is."""
        if rate != self._rate:
            self._rate = rate
            for group, ratio in self._moving:
                group["lr"] = rate * ratio


def fixed_groups(program: Program) -> frozenset[int]:
    """Return the positions of the groups whose rate does not depend on the learning rate.

    Found by building the optimizer of one model at two learning rates.

    Raises:
        UserCodeError: If building the model or the optimizer raises.
    """
    with preserved():
        model = program.build_model()
        low, high = (
            [float(group["lr"]) for group in program.build_optimizer(model, rate, 0.0).param_groups]
            for rate in (_LOW, _HIGH)
        )
    return frozenset(at for at, (one, other) in enumerate(zip(low, high, strict=False)) if one == other)
