"""The cells of the coarse grid: which there are, and which are added where the best lies at an edge."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks import grid as checks
from lrtune.errors import ConfigError
from lrtune.results import judged_loss
from lrtune.steps.trials import Trial, best_of, ended_at, rounded, score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from lrtune.results import Curve

# From the suggestion outwards: an interrupted grid has the likeliest cells. On 12 programs held out from the rule the
# best rate lay within 0.45 decades of the suggestion (tests/benchmarks/learning_rate); few epochs favour high rates, so
# that one more is tried below than above.
HALF_DECADES = (0, -1, 1, -2)
_RATE_FACTOR = math.sqrt(10)
_DECAY_FACTOR = 10.0
_EXTENSIONS = 2  # of each axis, in each direction
_MANY, _TOO_MANY = 500, 10_000  # cells: more than a person reads, and more than a grid is the means for

Combination = tuple[tuple[str, Any], ...]  # the values of the further axes, by name


@dataclass(frozen=True)
class Cell:
    """One cell of the grid.

    Attributes:
        lr: Learning rate.
        weight_decay: Weight decay.
        combination: Its values on further axes.
    """

    lr: float
    weight_decay: float
    combination: Combination = ()

    def __hash__(self) -> int:
        """By its text: a value may be a list."""
        return hash(self.identity)

    @property
    def identity(self) -> str:
        """Its values as text, which no other cell has."""
        values = (("lr", self.lr), ("weight_decay", self.weight_decay), *self.combination)
        return ", ".join(f"{name}={value!r}" for name, value in values)

    @property
    def params(self) -> dict[str, Any]:
        """Its values by name."""
        return {"lr": self.lr, "weight_decay": self.weight_decay, **dict(self.combination)}


def cell_of(trial: Trial, axes: Sequence[str]) -> Cell:
    """Return the cell that a row of the table belongs to."""
    return Cell(trial["lr"], trial["weight_decay"], tuple((name, trial.get(name)) for name in axes))


def automatic_rates(suggestion: float | None) -> list[float]:
    """Return the rates around step 3's, the nearest first."""
    assert suggestion is not None, "step 3 gave no rate"
    return [rounded(suggestion * 10 ** (half_decade / 2)) for half_decade in HALF_DECADES]


def combinations_of(axes: Mapping[str, Sequence[Any]]) -> list[Combination]:
    """Return every combination of the further axes' values; one that is empty where there are none."""
    plain = [[_plain(value) for value in values] for values in axes.values()]
    return [tuple(zip(axes, values, strict=True)) for values in itertools.product(*plain)]


def combinations_among(cells: Iterable[Cell]) -> list[Combination]:
    """Return the combinations of some cells, each once, in their order; told apart by their text, as cells are."""
    return list({repr(cell.combination): cell.combination for cell in cells}.values())


def _plain(value: Any) -> Any:
    """A tuple becomes a list, which it is anyhow once it has been written to a file."""
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


class CellPlan:
    """The cells that are to be trained, as far as the results of those before say.

    The same results lead to the same cells, extensions included: in a grid that is resumed as in one that was never
    interrupted, and in every process that works on it.

    Args:
        rates: Learning rates.
        decays: Weight decays.
        combinations: Of the further axes.
        note: Told each extension.

    Raises:
        ConfigError: If there are far too many cells.
    """

    def __init__(
        self,
        rates: Sequence[float],
        decays: Sequence[float],
        combinations: Sequence[Combination] = ((),),
        note: Callable[[str], object] = lambda text: None,
    ) -> None:
        cells = [Cell(lr, decay, one) for one in combinations for lr in rates for decay in decays]
        self.cells = list(dict.fromkeys(cells))
        self.extended: list[str] = []
        self._note = note
        self._extensions: dict[tuple[str, str], int] = {}
        if len(self.cells) > _TOO_MANY:
            raise ConfigError(f"coarse: the grid has {len(self.cells)} cells; take values away")
        if len(self.cells) > _MANY:
            note(
                f"coarse-grid: {len(self.cells)} cells; fewer values, or a refined search, would take less time"
            )

    def missing(self, rows: Mapping[str, Trial], curves: Mapping[str, Curve]) -> list[Cell]:
        """Return the cells to train next; none when the grid is done.

        Args:
            rows: What is trained, by identity.
            curves: The rows' training curves, by name.
        """
        while True:
            missing = [cell for cell in self.cells if cell.identity not in rows]
            if missing:
                return missing
            known = set(self.cells)
            beyond = _Edges(
                [rows[cell.identity] for cell in self.cells], self.cells, curves, self._may_extend
            )
            fresh = [cell for cell in beyond.cells() if cell not in known]
            if not fresh:
                return []
            self.cells += fresh

    def edges(self, rows: Mapping[str, Trial], curves: Mapping[str, Curve]) -> _Edges:
        """Return what the rows so far say of the grid's edges."""
        cells = [cell for cell in self.cells if cell.identity in rows]
        return _Edges([rows[cell.identity] for cell in cells], cells, curves, self._may_extend)

    def _may_extend(self, axis: str, direction: str, value: float, why: str) -> bool:
        count = self._extensions[(axis, direction)] = self._extensions.get((axis, direction), 0) + 1
        if count > _EXTENSIONS:
            return False
        name = "learning rate" if axis == "lr" else "weight decay"
        self.extended.append(f"{name} {direction} to {value:.3g}")
        self._note(f"{why}: extending the {self.extended[-1]}")
        return True


class _Edges:
    """Where the best cell lies among those that share its values on the further axes."""

    def __init__(
        self,
        trials: Sequence[Trial],
        cells: Sequence[Cell],
        curves: Mapping[str, Curve],
        may_extend: Callable[[str, str, float, str], bool],
    ) -> None:
        self._curves = curves
        self._may_extend = may_extend
        self.best = best_of(trials)
        by_trial = list(zip(trials, cells, strict=True))
        at = next((cell for trial, cell in by_trial if trial is self.best), None)
        self._combinations = combinations_among(cells)
        if at is not None:
            self._combinations = [at.combination]
        self._trials = [trial for trial, cell in by_trial if cell.combination in self._combinations]

    def cells(self) -> list[Cell]:
        """Return cells past the edge that the best cell lies at, none where it lies inside or enough was added."""
        if self.best is None:
            return self._below_everything()
        for axis, factor in (("lr", _RATE_FACTOR), ("weight_decay", _DECAY_FACTOR)):
            values = self.values(axis)
            if checks.at_edge(self.best[axis], values) and self.gain(axis) >= checks.MATTERS:
                up = self.best[axis] == values[-1]
                beyond = rounded(self.best[axis] * factor if up else self.best[axis] / factor)
                why = "the best cell lies at the edge of the grid"
                if self._may_extend(axis, "up" if up else "down", beyond, why):
                    return self._line(axis, beyond)
        return []

    def _below_everything(self) -> list[Cell]:
        if not self._trials:
            return []
        lower = rounded(min(self.values("lr")) / _RATE_FACTOR**2)
        if not self._may_extend("lr", "down", lower, "no cell has completed"):
            return []
        decays = self.values("weight_decay")
        return [Cell(lower, decay, one) for one in self._combinations for decay in decays]

    def _line(self, axis: str, value: float) -> list[Cell]:
        """A new rate meets every decay; a new decay only the best rate and its neighbours, where it can matter."""
        assert self.best is not None
        combination = self._combinations[0]
        if axis == "lr":
            return [Cell(value, decay, combination) for decay in self.values("weight_decay")]
        rates = self.values("lr")
        at = rates.index(self.best["lr"])
        return [Cell(rate, value, combination) for rate in rates[max(at - 1, 0) : at + 2]]

    def values(self, axis: str) -> list[float]:
        """Return the values of an axis, ascending."""
        return sorted({float(trial[axis]) for trial in self._trials})

    def gain(self, axis: str) -> float:
        """How much better the best is than the inner neighbour on an axis, as a share of the whole fall of the loss."""
        assert self.best is not None
        values = self.values(axis)
        inner = values[-2] if self.best[axis] == values[-1] else values[1]
        other = "weight_decay" if axis == "lr" else "lr"
        neighbours = [t for t in self._trials if t[axis] == inner and t[other] == self.best[other]]
        fall = initial_loss([self._curves[self.best["curve"]]]) - score(self.best)
        if not neighbours or fall <= 0:
            return math.inf
        return self._ahead_of(neighbours[0]) / fall

    def _ahead_of(self, neighbour: Trial) -> float:
        """One that was left behind at a rung is compared at that rung."""
        assert self.best is not None
        if neighbour["state"] != "pruned":
            return score(neighbour) - score(self.best)
        curve, best = self._curves[neighbour["curve"]], self._curves[self.best["curve"]]
        epoch = ended_at(curve)
        there, here = curve.loss_after(epoch), best.loss_after(epoch)
        return math.inf if there is None or here is None else there - here


def initial_loss(curves: Iterable[Curve]) -> float:
    """Return the loss before any training, of the first curve that has it; NaN where none has."""
    first = next((curve.evaluations[0] for curve in curves if curve.evaluations), {})
    loss = judged_loss(first)
    return math.nan if loss is None else float(loss)
