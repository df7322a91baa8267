"""The cells of a grid as an Optuna study's trials."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from lrtune.study.trials import Wanted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution

_LOGARITHMIC = ("lr",)


def wanted_cells(
    cells: Mapping[str, Mapping[str, Any]], further: Mapping[str, Sequence[Any]] | None = None
) -> list[Wanted]:
    """Return a grid's cells as trials with their parameters.

    Args:
        cells: By identity, each with its values by name.
        further: All values of the further axes: a parameter is of one kind in all trials of a study.
    """
    names = list(next(iter(cells.values()), {}))
    values = {name: [cell[name] for cell in cells.values()] for name in names} | dict(further or {})
    axes = {name: _axis(values[name], name in _LOGARITHMIC) for name in names}
    return [
        Wanted(identity, {name: _plain(cell[name], axes[name]) for name in names}, axes)
        for identity, cell in cells.items()
    ]


def _axis(values: Sequence[Any], logarithmic: bool) -> BaseDistribution:
    """Numbers are ranges, so that a later, wider grid stays compatible; anything else is a choice of texts."""
    if all(isinstance(value, int) and not isinstance(value, bool) for value in values):
        return IntDistribution(min(values), max(values))
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return FloatDistribution(min(values), max(values), log=logarithmic)
    return CategoricalDistribution(sorted({repr(value) for value in values}))


def _plain(value: Any, axis: BaseDistribution) -> Any:
    return repr(value) if isinstance(axis, CategoricalDistribution) else value
