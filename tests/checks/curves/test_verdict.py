"""Each verdict on curves whose answer is known: exact shapes, with and without noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from lrtune.checks.curves.setting import Setting
from lrtune.checks.curves.verdict import judge
from lrtune.probes.curves.reading import read_curve
from lrtune.results import Curve

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.results import Finding

STEPS, EPOCHS = 450, 15
T = np.arange(STEPS + 1) / STEPS
LONG = Setting(refined=True, epochs=EPOCHS, steps=STEPS // EPOCHS)
CALM = 2.2 * np.exp(-9 * T) + 0.1
SEEDS = range(3)


def curve(
    level: np.ndarray,
    val: np.ndarray | float | None = 0.03,
    noise: float = 0.0,
    seed: int = 0,
    epochs: int = EPOCHS,
) -> Curve:
    """A curve of some levels, `[steps + 1]`; `val` is a surplus over training, or levels an epoch, or None."""
    random = np.random.default_rng(seed)
    steps = len(level) - 1
    at = [steps * epoch // epochs for epoch in range(epochs + 1)]
    train = level[at] + 0.05 * noise * random.normal(size=epochs + 1)
    vals = train + val * np.minimum(1, np.arange(epochs + 1)) if isinstance(val, float) else val
    rows: list[dict[str, float | int | None]] = []
    for epoch, step in enumerate(at):
        rows.append({"epoch": epoch, "step": step, "train_loss": float(train[epoch])})
        if vals is not None:
            rows[-1]["val_loss"] = float(vals[epoch])
    return Curve([float(x) for x in level[:-1] + noise * random.normal(size=steps)], rows)


def judged(one: Curve, setting: Setting = LONG) -> list[Finding]:
    """What is said of a curve."""
    reading = read_curve(one)
    assert reading is not None
    return judge(reading, setting)


def codes(one: Curve, setting: Setting = LONG) -> list[str]:
    """The codes of that."""
    return [found.code for found in judged(one, setting)]


def epochwise(shape: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Validation levels, one an epoch."""
    return shape(np.arange(EPOCHS + 1) / EPOCHS)


def hit(step: int, height: float) -> np.ndarray:
    """The calm curve with one step far up."""
    level = CALM.copy()
    level[step] += height
    return level


STEP = np.arange(STEPS + 1)
SHAPES = {
    "converged": (CALM, 0.03),
    "still-improving": (2.2 * np.exp(-2 * T) + 0.1, 0.03),
    "slow-descent": (2.3 - 0.8 * T, 0.03),
    "plateau-at-start": (0.1 + 2.2 * np.where(T < 0.4, 1.0, np.exp(-12 * (T - 0.4))), 0.03),
    "underfitting": (1.8 + 0.5 * np.exp(-12 * T), 0.01),
    "overfitting": (2.2 * np.exp(-6 * T) + 0.1, epochwise(lambda t: 0.4 + 1.9 * np.exp(-8 * t) + 0.9 * t)),
    "loss-rising": (2 * np.exp(-10 * T) + 0.3 + 1.2 * np.maximum(T - 0.4, 0), 0.03),
    "oscillating": (1.5 * np.exp(-8 * T) + 0.8 + 0.4 * np.sin(2 * np.pi * STEP / 70), 0.03),
    "loss-spike": (hit(240, 6.0), 0.03),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("code", SHAPES)
def test_every_shape_is_named_first(code: str, noise: float, seed: int) -> None:
    """Each shape is named by its own code before any other, without noise and with noise of several sizes."""
    level, val = SHAPES[code]
    found = codes(curve(level, val, noise, seed))
    assert found[:1] == [code]
    assert set(found) <= {code, "still-improving"}


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("code", set(SHAPES) - {"underfitting"})
def test_the_unit_of_the_loss_does_not_matter(code: str, scale: float) -> None:
    """The same curve in another unit, or moved below zero, gets the same verdict; only underfitting needs a zero."""
    level, val = SHAPES[code]
    lower = 5 * scale
    vals = scale * val - lower if isinstance(val, np.ndarray) else val * scale
    assert codes(curve(scale * level - lower, vals))[:1] == [code]


def test_losses_below_zero_have_no_floor() -> None:
    """Of a loss that may be negative nobody knows how low it can get: no underfitting."""
    level, _ = SHAPES["underfitting"]
    assert "underfitting" not in codes(curve(level - 5, 0.01))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("level", "epochs", "val"),
    [
        pytest.param(CALM, EPOCHS, None, id="no validation"),
        pytest.param(2.2 * np.exp(-2.5 * np.arange(61) / 60) + 0.1, 3, 0.03, id="3 epochs of 20 steps"),
        pytest.param(2 * np.exp(-30 * np.arange(10_001) / 10_000) + 0.3, 10, 0.03, id="10,000 steps"),
        pytest.param(CALM - 4, EPOCHS, 0.03, id="below zero"),
        pytest.param(1e-7 * CALM, EPOCHS, 1e-9, id="near zero"),
    ],
)
def test_healthy_curves_raise_no_alarm(level: np.ndarray, epochs: int, val: float | None, seed: int) -> None:
    """Of a training that goes well nothing is said but that it has converged."""
    noise = 0.1 * float(level.max() - level.min())
    setting = Setting(refined=True, epochs=epochs, steps=(len(level) - 1) // epochs)
    assert set(codes(curve(level, val, noise, seed, epochs), setting)) <= {"converged"}


def test_a_short_training_is_not_told_to_go_on() -> None:
    """Three epochs of a coarse grid are meant to be short; a thousand steps of a refined trial are not."""
    level, val = SHAPES["still-improving"]
    short = curve(level, val, epochs=3)
    assert codes(short, Setting(refined=False, epochs=3, steps=150)) == []
    assert codes(short, Setting(refined=True, epochs=3, steps=150)) == []
    assert codes(short, Setting(refined=True, epochs=3, steps=500)) == ["still-improving"]


def test_the_fix_asks_for_twice_the_epochs() -> None:
    """The command of the advice has the number to try."""
    level, val = SHAPES["still-improving"]
    (found,) = judged(curve(level, val))
    assert "lrtune grid --refine CONFIG --set refine.epochs=30" in found.fix


def test_a_straight_line_explains_that_it_goes_on() -> None:
    """One cause, not two: that a slow descent has not ended follows from it."""
    level, val = SHAPES["slow-descent"]
    slow, going = judged(curve(level, val))
    assert (slow.code, slow.follows_from) == ("slow-descent", None)
    assert (going.code, going.follows_from) == ("still-improving", "slow-descent")


def test_a_rate_is_not_too_low_where_higher_ones_did_worse() -> None:
    """A line whose rate was doubled elsewhere in the grid wants more epochs, not another rate."""
    level, val = SHAPES["slow-descent"]
    tried = Setting(refined=True, epochs=EPOCHS, steps=30, higher_rate_tried=True)
    assert codes(curve(level, val), tried) == ["still-improving"]


def test_capacity_is_there_where_another_trial_gets_lower() -> None:
    """A plateau that another setting undercuts is no lack of the model's."""
    level, val = SHAPES["underfitting"]
    lower = Setting(refined=True, epochs=EPOCHS, steps=30, lowest_train_loss=0.2)
    assert "underfitting" not in codes(curve(level, val), lower)


def test_a_quick_drop_to_a_high_plateau_points_to_the_rate() -> None:
    """Nine tenths of the fall within a tenth of the training: lower rates are the first thing to try."""
    (quick,) = judged(curve(1.4 + 0.9 * np.exp(-60 * T), 0.01))
    assert quick.code == "underfitting"
    assert "lower rates" in quick.fix
    level, val = SHAPES["underfitting"]
    assert "lower rates" not in judged(curve(level, val))[0].fix


@pytest.mark.parametrize("value", [2.3, 0.0, -3.5])
@pytest.mark.parametrize("val", [0.0, None])
def test_a_constant_never_leaves_its_start(value: float, val: float | None) -> None:
    """A loss that does not move, at any level, is a plateau that lasts to the end, and nothing else."""
    assert codes(curve(np.full(STEPS + 1, value), val)) == ["plateau-at-start"]


@pytest.mark.parametrize("seed", range(8))
def test_noise_alone_is_no_more_than_a_plateau(seed: int) -> None:
    """A flat loss under noise has neither spikes nor swings nor a trend."""
    assert set(codes(curve(np.full(STEPS + 1, 2.3), None, 0.3, seed))) <= {"plateau-at-start"}


def test_an_end_in_nan_is_an_error() -> None:
    """A loss that stops being finite has risen, wherever it stood."""
    made = curve(CALM)
    made.evaluations[9:] = [{"epoch": 9, "step": 250, "train_loss": None, "val_loss": None}]
    (found,) = judged(Curve(made.loss[:250], made.evaluations))
    assert (found.code, found.severity, found.measured) == ("loss-rising", "error", 250.0)


def test_a_rise_from_the_start() -> None:
    """Ascent: the loss never fell."""
    (found,) = judged(curve(2.3 + 0.2 * T, None, 0.05))
    assert found.code == "loss-rising"
    assert "never fell" in found.message


def test_a_gap_without_a_rise() -> None:
    """Validation that stops at a third of what training learns has overfitted, though it never rises."""
    (found,) = judged(curve(2.2 * np.exp(-9 * T) + 0.1, epochwise(lambda t: 1.6 + 0.7 * np.exp(-9 * t))))
    assert found.code == "overfitting"
    assert found.measured == pytest.approx(0.7 / 2.2, abs=0.03)


@pytest.mark.parametrize("seed", range(6))
def test_a_jumpy_validation_set_of_few_examples_is_no_overfitting(seed: int) -> None:
    """Validation losses that jump by a tenth of the fall around a settled level are noise."""
    random = np.random.default_rng(seed)
    val = epochwise(lambda t: 0.3 + 2 * np.exp(-9 * t)) + 0.1 * random.normal(size=EPOCHS + 1)
    assert "overfitting" not in codes(curve(CALM, val))


def test_flips_of_two_batches_an_epoch_are_the_batches() -> None:
    """With two batches an epoch the same ones come every other step: that is no oscillation."""
    level = CALM + 0.5 * (-1.0) ** STEP
    assert codes(curve(level, None))[:1] == ["oscillating"]
    assert "oscillating" not in codes(curve(level, None), Setting(refined=True, epochs=225, steps=2))


COARSE = Setting(refined=False, epochs=5, steps=60)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("noise", [0.0, 0.005, 0.04])
@pytest.mark.parametrize("epochs", [3, 5])
def test_a_line_that_gets_nowhere_is_slow_in_few_epochs_too(epochs: int, noise: float, seed: int) -> None:
    """A coarse grid's few epochs are short, but a straight line from 2.4 to 2.2 is slow all the same."""
    line = curve(2.4 - 0.2 * np.arange(301) / 300, 0.0, noise, seed, epochs)
    assert codes(line, Setting(refined=False, epochs=epochs, steps=300 // epochs)) == ["slow-descent"]


@pytest.mark.parametrize(
    ("level", "epochs"),
    [
        pytest.param(2.4 - 1.6 * np.arange(301) / 300, 5, id="most of the loss is gone"),
        pytest.param(2.4 - 0.2 * np.arange(121) / 120, 2, id="two epochs have no halves"),
        pytest.param(2.4 - 0.4 * (1 - np.exp(-np.arange(301) / 60)), 5, id="bent"),
        pytest.param(-2.4 - 0.2 * np.arange(301) / 300, 5, id="below zero"),
    ],
)
def test_few_epochs_that_are_not_slow(level: np.ndarray, epochs: int) -> None:
    """Few epochs say nothing of a fall that is quick, bent, of no known floor, or measured too rarely."""
    setting = Setting(refined=False, epochs=epochs, steps=len(level) // epochs)
    assert codes(curve(level, 0.0, 0.0, 0, epochs), setting) == []


def test_few_epochs_are_not_slow_where_a_higher_rate_did_worse() -> None:
    """A grid that tried a higher rate answers for this one, in few epochs as in many."""
    line = curve(2.4 - 0.2 * np.arange(301) / 300, 0.0, epochs=5)
    assert codes(line, Setting(refined=False, epochs=5, steps=60, higher_rate_tried=True)) == []


@pytest.mark.parametrize(("harder", "wanted"), [(0.0, []), (0.2, ["underfitting"])])
def test_examples_that_are_harder_from_the_first_on_are_no_gap(harder: float, wanted: list[str]) -> None:
    """A loss at rest high up with validation 0.2 above it is underfitting where that was so at the beginning."""
    level, _ = SHAPES["underfitting"]
    train = level[:: STEPS // EPOCHS]
    val = train + 0.2 - (0.2 - harder) * np.exp(-5 * np.arange(EPOCHS + 1))
    found = codes(curve(level, val))
    assert [code for code in found if code == "underfitting"] == wanted


def test_a_hump_on_a_loss_that_learns_nothing() -> None:
    """A loss that goes up once and comes back, and has learnt nothing, ends where it began: that is said."""
    level = 2.3 + 0.4 * np.exp(-(((np.arange(301) - 150) / 15) ** 2))
    found = judged(curve(level, 0.0, 0.02, 0, epochs=3), COARSE)
    assert [one.code for one in found] == ["plateau-at-start"]
    assert "ends at its first value" in found[0].message
