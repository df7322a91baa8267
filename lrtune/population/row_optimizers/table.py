"""Which classes of `torch.optim` have a version on rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from lrtune.population.row_optimizers.adagrad import AdagradRows
from lrtune.population.row_optimizers.adam import AdamRows
from lrtune.population.row_optimizers.rmsprop import RMSpropRows
from lrtune.population.row_optimizers.sgd import SGDRows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from lrtune.population.row_optimizers.base import RowOptimizer, StackedOptimizer

_CLASSES: dict[type[torch.optim.Optimizer], type[StackedOptimizer]] = {
    torch.optim.SGD: SGDRows,
    torch.optim.Adam: AdamRows,
    torch.optim.AdamW: AdamRows,
    torch.optim.RMSprop: RMSpropRows,
    torch.optim.Adagrad: AdagradRows,
}
# Ways to compute, not what to compute. Asked for, each rounds in its own way, so real instances honour it.
_IMPLEMENTATIONS = frozenset({"foreach", "fused", "capturable", "differentiable"})


def row_optimizer(
    cls: type[torch.optim.Optimizer], keywords: Mapping[str, Any]
) -> Callable[[Sequence[Tensor]], RowOptimizer] | None:
    """Return what builds the version on rows of an optimizer.

    Args:
        cls: A class of `torch.optim`.
        keywords: Its keywords, without the learning rate and the weight decay.

    Returns:
        A function of the stacked parameters; None where there is no such version, or where the class itself
        refuses the keywords: its instances then say why.

    Example:
        >>> build = row_optimizer(torch.optim.SGD, {"momentum": 0.9})
        >>> weights = torch.ones(2, 1)
        >>> optimizer = build([weights])
        >>> optimizer.step([torch.ones(2, 1)], rates=[0.25, 0.5], decays=[0.0, 0.0])
        >>> weights.flatten().tolist()
        [0.75, 0.5]
    """
    rows = _CLASSES.get(cls)
    if rows is None or not all(_is_known(name, value, rows) for name, value in keywords.items()):
        return None
    try:
        settings = dict(cls([torch.zeros(1)], lr=1.0, **keywords).defaults)  # type: ignore[call-arg]
    except (TypeError, ValueError):
        return None
    settings.setdefault("decoupled_weight_decay", cls is torch.optim.AdamW)  # older AdamW does not say so
    return partial(rows, settings=settings)


def _is_known(name: str, value: Any, rows: type[StackedOptimizer]) -> bool:
    if name in _IMPLEMENTATIONS:
        return not value
    numbers = value if isinstance(value, tuple | list) else [value]
    return name in rows.keywords and not any(isinstance(number, torch.Tensor) for number in numbers)
