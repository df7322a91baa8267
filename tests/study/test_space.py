from __future__ import annotations

import pytest

from lrtune.study.space import Space

RATES = [0.03, 0.1, 0.3, 1.0, 3.0]  # of the coarse grid


def cell(lr: float, weight_decay: float) -> dict[str, float]:
    """A trial's settings."""
    return {"lr": lr, "weight_decay": weight_decay}


def test_around() -> None:
    """Half a decade around the best rates; the decay from a thousandth of the smallest to tenfold the highest."""
    space = Space.around([cell(0.1, 1e-5), cell(1.0, 0.0)], RATES, [0.0, 1e-5, 1e-4])
    assert (space.lr_low, space.lr_high) == pytest.approx((0.1 / 10**0.5, 10**0.5))
    assert (space.decay_low, space.decay_high) == pytest.approx((1e-8, 1e-4))
    assert space.decay_none


@pytest.mark.parametrize(
    ("best", "rates", "decays"),
    [
        pytest.param(cell(3.0, 1e-5), (3.0 / 10**0.5, 30.0), (1e-6, 1e-4), id="highest rate"),
        pytest.param(cell(0.03, 1e-5), (0.003, 0.03 * 10**0.5), (1e-6, 1e-4), id="lowest rate"),
        pytest.param(cell(0.3, 1e-4), (0.3 / 10**0.5, 0.3 * 10**0.5), (1e-5, 1e-2), id="highest decay"),
        pytest.param(cell(0.3, 1e-6), (0.3 / 10**0.5, 0.3 * 10**0.5), (1e-8, 1e-5), id="lowest decay"),
    ],
)
def test_a_best_cell_at_the_edge_widens_its_axis(
    best: dict[str, float], rates: tuple[float, float], decays: tuple[float, float]
) -> None:
    """Beyond the lowest or highest value that was tried nothing is known: there the margin is twice as wide."""
    space = Space.around([best], RATES, [1e-6, 1e-5, 1e-4])
    assert (space.lr_low, space.lr_high) == pytest.approx(rates)
    assert (space.decay_low, space.decay_high) == pytest.approx(decays)
    assert not space.decay_none


def test_cells_with_decay_alone() -> None:
    """Where no best cell is without decay the range ends a decade below theirs, and its end is a decay like others."""
    space = Space.around([cell(0.1, 1e-4), cell(0.1, 1e-3)], RATES, [0.0, 1e-4, 1e-3])
    assert (space.decay_low, space.decay_high) == pytest.approx((1e-5, 1e-2))
    assert space.setting_of({"lr": 0.1, "weight_decay": space.decay_low}) == (0.1, space.decay_low)


@pytest.mark.parametrize(
    ("name", "value", "end"),
    [
        ("lr", 0.95, "up"),
        ("lr", 0.1, None),
        ("lr", 0.0105, "down"),
        ("weight_decay", 9e-3, "up"),
        ("weight_decay", 1e-5, None),
        ("weight_decay", 0.0, None),
    ],
)
def test_ends(name: str, value: float, end: str | None) -> None:
    """A value within a tenth of a range's end lies at it; below no decay there is nothing."""
    space = Space(0.01, 1.0, 1e-8, 1e-2)
    assert space.end_near(name, value) == end
    assert Space(0.01, 1.0, 0.0, 0.0).end_near("weight_decay", 0.0) is None
    assert Space(0.01, 1.0, 1e-5, 1e-2, decay_none=False).end_near("weight_decay", 1.1e-5) == "down"


def test_widened() -> None:
    """Half a decade more of rates, a decade more of decay; below the lowest decay there is none at all."""
    space = Space(0.01, 1.0, 1e-5, 1e-2, decay_none=False)
    assert space.widened("lr", "up").lr_high == pytest.approx(10**0.5)
    assert space.widened("lr", "down").lr_low == pytest.approx(0.01 / 10**0.5)
    assert space.widened("weight_decay", "up").decay_high == pytest.approx(0.1)
    lower = space.widened("weight_decay", "down")
    assert lower.setting_of({"lr": 0.1, "weight_decay": lower.decay_low}) == (0.1, 0.0)
    assert Space(**lower.to_dict()) == lower


def test_best_without_decay() -> None:
    """Where the best cells have no decay, the smallest positive one sets the range."""
    space = Space.around([cell(0.1, 0.0)], RATES, [0.0, 1e-5, 1e-4])
    assert (space.decay_low, space.decay_high) == pytest.approx((1e-8, 1e-4))


def test_only_without_decay() -> None:
    """Where no decay was tried but none, decay is no axis."""
    space = Space.around([cell(0.1, 0.0)], RATES, [0.0])
    assert set(space.distributions()) == {"lr"}
    assert space.setting_of(space.parameters_of(0.1, 0.0)) == (0.1, 0.0)


@pytest.mark.parametrize("decay", [0.0, 1e-5, 3.3e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("lr", [0.1, 0.12345678901234567, 1.0])
def test_round_trip(lr: float, decay: float) -> None:
    """A setting that becomes parameters of the study comes back exactly, a decay of 0 included."""
    space = Space.around([cell(0.1, 1e-4), cell(1.0, 0.0)], RATES, [0.0, 1e-5, 1e-4])
    parameters = space.parameters_of(lr, decay)
    for name, axis in space.distributions().items():
        assert axis._contains(parameters[name])
    assert space.setting_of(parameters) == (lr, decay)


def test_outside_is_brought_inside() -> None:
    """Settings beyond the ranges are brought to their ends."""
    space = Space.around([cell(0.1, 1e-4)], RATES, [0.0, 1e-4])
    assert space.setting_of(space.parameters_of(100.0, 100.0)) == (space.lr_high, space.decay_high)
    assert space.to_dict()["lr_high"] == space.lr_high
