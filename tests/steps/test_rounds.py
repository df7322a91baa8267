from __future__ import annotations

from typing import Any

import pytest

from lrtune.results import Finding
from lrtune.steps.rounds import Round, advice, next_round, rounds_from
from lrtune.study.space import Space

SPACE = Space(0.01, 1.0, 1e-8, 1e-3)
BEFORE = Round(20, SPACE.to_dict())


def found(*codes: str) -> list[Finding]:
    """Findings with these codes."""
    return [Finding(code, "warning", "", None, None, "", "") for code in codes]


def best(lr: float = 0.1, weight_decay: float = 1e-5) -> dict[str, Any]:
    """The best trial."""
    return {"lr": lr, "weight_decay": weight_decay}


def test_nothing_found_moves_nothing() -> None:
    """Where the best lies inside, the same ranges are searched by so many trials more."""
    after = next_round(BEFORE, 7, best(), [])
    assert after == Round(27, SPACE.to_dict())
    assert next_round(BEFORE, 7, None, []) == after


@pytest.mark.parametrize(
    ("trial", "axis", "ranges"),
    [
        pytest.param(best(lr=0.95), "lr_high", "0.01 to 1 becomes 0.01 to 3.16", id="highest rate"),
        pytest.param(best(lr=0.0101), "lr_low", "0.01 to 1 becomes 0.00316 to 1", id="lowest rate"),
        pytest.param(best(weight_decay=9e-4), "decay_high", "0 to 0.001 becomes 0 to 0.01", id="decay"),
    ],
)
def test_an_edge_is_widened(trial: dict[str, Any], axis: str, ranges: str) -> None:
    """A best trial at an end of a range widens it in that direction alone, and it is said."""
    after = next_round(BEFORE, 1, trial, [])
    changed = {key for key, value in after.space.items() if value != BEFORE.space[key]}
    assert changed == {axis}
    assert len(after.moved) == 1
    assert ranges in after.moved[0]


def test_overfitting_asks_for_more_decay() -> None:
    """Overfitting raises the highest decay tenfold, once, also where the best lies at that end."""
    after = next_round(BEFORE, 1, best(), found("overfitting"))
    assert after.space["decay_high"] == pytest.approx(1e-2)
    assert "overfits" in after.moved[0]
    both = next_round(BEFORE, 1, best(weight_decay=9e-4), found("overfitting"))
    assert both.space["decay_high"] == pytest.approx(1e-2)
    assert len(both.moved) == 2


def test_overfitting_without_decay_is_said() -> None:
    """Where no decay is searched nothing is widened, and what to do is said."""
    space = Space(0.01, 1.0, 0.0, 0.0).to_dict()
    after = next_round(Round(20, space), 1, best(weight_decay=0.0), found("overfitting"))
    assert after.space == space
    assert "coarse.weight_decay" in after.moved[0]


def test_more_epochs_are_another_search() -> None:
    """A trial that still improves asks for more epochs, which no further round gives."""
    assert next_round(BEFORE, 1, best(), found("still-improving")).moved == ()
    assert "refine.epochs=30" in advice(found("still-improving"), 15)[0]
    assert advice(found("overfitting"), 15) == []


def test_round_trip() -> None:
    """Rounds come back from plain values."""
    after = next_round(BEFORE, 3, best(lr=0.95), [])
    assert rounds_from([after.to_dict()]) == [after]
