from __future__ import annotations

import pytest

from lrtune.study.space import Space


def cell(lr: float, weight_decay: float) -> dict[str, float]:
    """A trial's settings."""
    return {"lr": lr, "weight_decay": weight_decay}


def test_around() -> None:
    """Half a decade around the best rates; the decay from a thousandth of the smallest to tenfold the best."""
    space = Space.around([cell(0.1, 1e-4), cell(1.0, 0.0)], [0.0, 1e-5, 1e-4])
    assert (space.lr_low, space.lr_high) == pytest.approx((0.1 / 10**0.5, 10**0.5))
    assert (space.decay_low, space.decay_high) == pytest.approx((1e-8, 1e-3))


def test_best_without_decay() -> None:
    """Where the best cells have no decay, the smallest positive one sets the range."""
    space = Space.around([cell(0.1, 0.0)], [0.0, 1e-5, 1e-4])
    assert (space.decay_low, space.decay_high) == pytest.approx((1e-8, 1e-4))


def test_only_without_decay() -> None:
    """Where no decay was tried but none, decay is no axis."""
    space = Space.around([cell(0.1, 0.0)], [0.0])
    assert set(space.distributions()) == {"lr"}
    assert space.setting_of(space.parameters_of(0.1, 0.0)) == (0.1, 0.0)


@pytest.mark.parametrize("decay", [0.0, 1e-5, 3.3e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("lr", [0.1, 0.12345678901234567, 1.0])
def test_round_trip(lr: float, decay: float) -> None:
    """A setting that becomes parameters of the study comes back exactly, a decay of 0 included."""
    space = Space.around([cell(0.1, 1e-4), cell(1.0, 0.0)], [0.0, 1e-5, 1e-4])
    parameters = space.parameters_of(lr, decay)
    for name, axis in space.distributions().items():
        assert axis._contains(parameters[name])
    assert space.setting_of(parameters) == (lr, decay)


def test_outside_is_brought_inside() -> None:
    """Settings beyond the ranges are brought to their ends."""
    space = Space.around([cell(0.1, 1e-4)], [0.0, 1e-4])
    assert space.setting_of(space.parameters_of(100.0, 100.0)) == (space.lr_high, space.decay_high)
    assert space.to_dict()["lr_high"] == space.lr_high
