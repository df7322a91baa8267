from __future__ import annotations

import math
from typing import Any

import pytest

from lrtune.errors import ConfigError
from lrtune.results import Curve
from lrtune.steps.cells import Cell, CellPlan, cell_of, combinations_among, combinations_of


def curve(*losses: float) -> Curve:
    """A curve with these validation losses after epochs 0, 1, ..."""
    return Curve(evaluations=[{"epoch": epoch, "val_loss": loss} for epoch, loss in enumerate(losses)])


def trained(plan: CellPlan, loss: Any, most: int = 100) -> list[Cell]:
    """Train a plan to its end, each cell to the loss that a function gives it; return its cells."""
    rows: dict[str, Any] = {}
    curves: dict[str, Curve] = {}
    for _ in range(most):
        missing = plan.missing(rows, curves)
        if not missing:
            return plan.cells
        cell = missing[-1]  # in any order
        value, state = loss(cell)
        name = f"c{len(rows)}"
        rows[cell.identity] = {
            **cell.params,
            "val_loss": value,
            "train_loss": None,
            "state": state,
            "curve": name,
        }
        curves[name] = curve(1.0, value)
    raise AssertionError("the plan does not end")


def bowl(cell: Cell) -> tuple[float, str]:
    """Best at a rate of 1."""
    return math.log10(cell.lr) ** 2 / 10, "complete"


def test_identities_tell_cells_apart() -> None:
    """An identity holds every value, and a row of the table leads back to its cell."""
    cells = [
        Cell(0.1, 0.0),
        Cell(0.1, 1e-4),
        Cell(0.1, 0.0, (("momentum", 0.9),)),
        Cell(0.1, 0.0, (("momentum", "x"),)),
    ]
    assert len({cell.identity for cell in cells}) == 4
    assert cells[2].identity == "lr=0.1, weight_decay=0.0, momentum=0.9"
    assert [cell_of(cell.params, [name for name, _ in cell.combination]) for cell in cells] == cells


def test_combinations() -> None:
    """Every value of one axis meets every value of the others; without axes there is one, empty."""
    assert combinations_of({}) == [()]
    assert combinations_of({"a": [1, 2], "b": ["x"]}) == [(("a", 1), ("b", "x")), (("a", 2), ("b", "x"))]


def test_a_best_cell_inside_ends_the_plan() -> None:
    """Nothing is added where the best lies between others."""
    assert [cell.lr for cell in trained(CellPlan([0.1, 1.0, 10.0], [0.0]), bowl)] == [0.1, 1.0, 10.0]


def test_the_edge_is_extended_twice_at_most() -> None:
    """Rates are added beyond the best one until it lies inside, no more than two."""
    notes: list[str] = []
    plan = CellPlan([0.001, 0.002], [0.0], note=notes.append)
    assert [cell.lr for cell in trained(plan, bowl)] == [0.001, 0.002, 0.00632456, 0.02]
    assert len(notes) == len(plan.extended) == 2


def test_only_the_best_combination_is_extended() -> None:
    """With further axes, the edge is that of the cells which share the best one's values."""
    plan = CellPlan([0.1, 0.3], [0.0], [(("momentum", 0.5),), (("momentum", 0.9),)])

    def loss(cell: Cell) -> tuple[float, str]:
        return bowl(cell)[0] + (0.1 if cell.combination == (("momentum", 0.5),) else 0.0), "complete"

    added = trained(plan, loss)[4:]
    assert {cell.combination for cell in added} == {(("momentum", 0.9),)}


def test_where_all_diverge_lower_rates_are_tried() -> None:
    """A decade lower, twice, for every combination."""
    plan = CellPlan([10.0], [0.0], [(("momentum", 0.5),), (("momentum", 0.9),)])
    assert sorted(cell.lr for cell in trained(plan, lambda cell: (None, "diverged")))[:2] == [0.1, 0.1]


@pytest.mark.parametrize(("rung", "extended"), [(0.9, True), (0.401, False)], ids=["far behind", "close"])
def test_a_pruned_neighbour_is_compared_at_its_rung(rung: float, extended: bool) -> None:
    """What was left behind is compared with what the best had reached then, not in the end."""
    plan = CellPlan([0.1, 0.3], [0.0])
    rows = {
        cell.identity: {**cell.params, "val_loss": loss, "train_loss": None, "state": state, "curve": state}
        for cell, loss, state in zip(plan.cells, (rung, 0.1), ("pruned", "complete"), strict=True)
    }
    curves = {"pruned": curve(1.0, rung), "complete": curve(1.0, 0.4, 0.1)}
    assert bool(plan.missing(rows, curves)) is extended


def test_many_cells_are_said() -> None:
    """More cells than a person reads are said; far too many are refused."""
    notes: list[str] = []
    CellPlan([0.1 * at for at in range(1, 502)], [0.0], note=notes.append)
    assert "501 cells" in notes[0]
    with pytest.raises(ConfigError, match="10201 cells"):
        CellPlan([0.1 * at for at in range(1, 102)], [0.1 * at for at in range(101)])


def test_values_may_be_lists() -> None:
    """Lists and tuples are values like others: each combination once, and a row of a file belongs to its cell."""
    combinations = combinations_of({"betas": [(0.9, 0.999), [0.8, 0.99]], "amsgrad": [True]})
    assert combinations[0] == (("betas", [0.9, 0.999]), ("amsgrad", True))
    plan = CellPlan([0.1], [0.0, 0.0], combinations)
    assert len(plan.cells) == 2
    assert combinations_among([*plan.cells, *plan.cells]) == combinations
    row = {"lr": 0.1, "weight_decay": 0.0, "betas": [0.8, 0.99], "amsgrad": True}
    assert cell_of(row, ("betas", "amsgrad")) == plan.cells[1]
    assert len({*plan.cells, plan.cells[0]}) == 2
    assert len(trained(plan, lambda cell: (cell.combination[0][1][0] / 2, "complete"))) == 2
