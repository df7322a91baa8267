"""A third part, written after the rules: its names were set before any of it was judged.

Its author had not read the code of the rules, nor `held_out`, but knew the thresholds as `lrtune explain` prints them.

The shapes and the noises are others than those of the two halves: power laws, stretched exponentials, hyperbolas,
staircases and sigmoids under Student's t, skewed multiplicative, uniform and correlated noise, on losses of all scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from benchmarks.curves.case import HEALTHY, Case, drawn

from lrtune.results import Curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.curves.case import Floats

NOISES = (0.02, 0.08, 0.2)  # standard deviation of a minibatch loss, as a share of the fall
_JITTER = 0.04  # of a minibatch's noise: what an evaluation on many examples still has
_STUDENT = 4  # degrees of freedom: tails as of small batches with a hard example now and then


def cases() -> Iterator[Case]:
    """Yield every curve of this part."""
    for number, noise in enumerate(NOISES):
        for family in (_converged, _healthy, _overfitting, _underfitting, _still, _plateau, _slow):
            yield from family(noise, 1000 + 100 * number)
        for family in (_rising, _oscillating, _spikes):
            yield from family(noise, 2000 + 100 * number)
    yield from _ended()


# --- shapes, from 1 down to 0 over the whole training, and noises of standard deviation 1 ---------------------------


def _time(steps: int) -> Floats:
    return np.arange(steps + 1) / steps


def _exponential(steps: int, lives: float, power: float = 1.0) -> Floats:
    """Fall by `exp(-(lives t)^power)`: stretched where the power is below 1."""
    return np.exp(-((lives * _time(steps)) ** power))


def _hyperbola(steps: int, lives: float, power: float = 2.0) -> Floats:
    return 1 / (1 + lives * _time(steps)) ** power


def _sigmoid(steps: int, middle: float, steepness: float) -> Floats:
    return 1 / (1 + np.exp(steepness * (_time(steps) - middle)))


def _student(random: np.random.Generator, count: int) -> Floats:
    return random.standard_t(_STUDENT, size=count) / np.sqrt(_STUDENT / (_STUDENT - 2))


def _skewed(random: np.random.Generator, count: int) -> Floats:
    return (random.gamma(4.0, 1.0, size=count) - 4.0) / 2.0


def _uniform(random: np.random.Generator, count: int) -> Floats:
    return random.uniform(-np.sqrt(3), np.sqrt(3), size=count)


def _correlated(random: np.random.Generator, count: int) -> Floats:
    white = random.normal(size=count + 1)
    return (white[1:] + 0.4 * white[:-1]) / np.sqrt(1.16)


_NOISES: tuple[Callable[[np.random.Generator, int], Floats], ...] = (_student, _skewed, _uniform, _correlated)


def _curve(
    level: Floats,
    epochs: int,
    noise: float,
    seed: int,
    *,
    scale: float = 1.0,
    floor: float = 0.1,
    val: Floats | float | None = 0.03,
    val_noise: float | None = None,
    grows: bool = False,
) -> Curve:
    """Return `scale * (level + floor)` under noise.

    Args:
        level: Training loss, in units of the fall, `[steps + 1]`.
        epochs: Of equal length.
        noise: Standard deviation of a minibatch loss, in units of the fall.
        seed: Of the noise, and of which noise it is.
        scale: Of the loss.
        floor: Added to the level, in units of the fall.
        val: Surplus of validation over training at the end, or its levels `[epochs + 1]` without the floor, or None.
        val_noise: Standard deviation of a validation loss, in units of the fall; that of training where it is None.
        grows: Whether the noise is in proportion to the loss, as it is of most real losses.
    """
    random = np.random.default_rng(seed)
    at = [(len(level) - 1) * epoch // epochs for epoch in range(epochs + 1)]
    share = np.arange(epochs + 1) / epochs
    levels = level[at] + val * (1 - np.exp(-3 * share)) if isinstance(val, float) else val
    spread = (level[:-1] + floor) / (1 + floor) if grows else np.ones(len(level) - 1)
    still = _JITTER * noise
    return drawn(
        scale * (level + floor),
        None if levels is None else scale * (levels + floor),
        epochs,
        lambda count: scale * noise * spread * _NOISES[seed % len(_NOISES)](random, count),
        lambda count: scale * still * random.normal(size=count),
        lambda count: scale * (still if val_noise is None else val_noise) * random.normal(size=count),
    )


# --- healthy ---


def _converged(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("converged",)
    size = f"noise {noise:g}"
    yield Case("converged", f"stretched, {size}", wanted, _curve(_exponential(900, 60, 0.6), 30, noise, seed))
    near = _curve(_exponential(4000, 14), 20, noise, seed + 1, scale=1e-8, grows=True)
    yield Case("converged", f"of size 1e-8, {size}", wanted, near)
    far = _curve(_exponential(600, 12), 20, noise, seed + 2, scale=4e5, val=None)
    yield Case("converged", f"of size 4e5, no validation, {size}", wanted, far)
    below = _curve(_exponential(800, 12), 16, noise, seed + 3, scale=50.0, floor=-4.0)
    yield Case("converged", f"of size -200, {size}", wanted, below)


def _healthy(noise: float, seed: int) -> Iterator[Case]:
    size = f"noise {noise:g}"
    at = np.arange(21) / 20
    stairs = 0.6 * _exponential(1000, 25) + 0.3 * _sigmoid(1000, 0.5, 300) + 0.1 * _sigmoid(1000, 0.62, 300)
    proportional = _exponential(700, 8)
    warm = _sigmoid(1000, 0.07, 70)
    lower = 0.9 * np.exp(-9 * at) - 0.05
    bump = np.exp(-8 * at) + 0.04 + 0.05 * np.exp(-(((at - 0.4) / 0.08) ** 2))
    few = np.exp(-7 * at) + 0.06
    last = np.exp(-8 * at) + 0.05 + 0.02 * np.maximum(at - 0.5, 0)
    rows: tuple[tuple[str, Curve, str], ...] = (
        (
            "3 epochs of 20",
            _curve(_exponential(60, 3), 3, noise, seed + 10, scale=2.0, floor=0.3),
            "coarse-grid",
        ),
        (
            "3 epochs of 20, no validation",
            _curve(_hyperbola(60, 4), 3, noise, seed + 11, scale=0.7, val=None),
            "coarse-grid",
        ),
        (
            "5 epochs of 100",
            _curve(_exponential(500, 6), 5, noise, seed + 12, scale=1e4, val=0.05),
            "coarse-grid",
        ),
        ("10,000 steps", _curve(_exponential(10_000, 40), 10, noise, seed + 13, floor=0.2), "refine-grid"),
        (
            "10,000 steps, no validation",
            _curve(_exponential(10_000, 30), 12, noise, seed + 14, val=None),
            "refine-grid",
        ),
        ("a staircase of rates", _curve(stairs, 20, noise, seed + 15, scale=3.0), "refine-grid"),
        (
            "noise in proportion",
            _curve(proportional, 14, noise, seed + 16, floor=0.05, grows=True),
            "refine-grid",
        ),
        ("a short warm-up", _curve(warm, 20, noise, seed + 17, scale=6.0), "refine-grid"),
        (
            "validation below training",
            _curve(_exponential(600, 9), 20, noise, seed + 18, val=lower),
            "refine-grid",
        ),
        (
            "a bump of validation",
            _curve(_exponential(600, 8), 20, noise, seed + 19, val=bump, scale=0.01),
            "refine-grid",
        ),
        (
            "few validation examples",
            _curve(_exponential(600, 7), 20, noise, seed + 20, val=few, val_noise=0.03),
            "refine-grid",
        ),
        (
            "validation up by a hundredth",
            _curve(_exponential(800, 9), 20, noise, seed + 21, val=last),
            "refine-grid",
        ),
        (
            "negative",
            _curve(_exponential(500, 9), 20, noise, seed + 22, floor=-30.0, scale=8.0),
            "refine-grid",
        ),
    )
    for name, curve, grid in rows:
        yield Case("healthy", f"{name}, {size}", HEALTHY, curve, grid)


# --- of validation ---


def _overfitting(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("overfitting",)
    size = f"noise {noise:g}"
    at = np.arange(25) / 24
    turns = np.exp(-9 * at) + 0.25 + 0.5 * np.log1p(4 * np.maximum(at - 0.25, 0))
    yield Case(
        "overfitting",
        f"turns early, {size}",
        wanted,
        _curve(_hyperbola(480, 12), 24, noise, seed + 30, val=turns),
    )
    long = np.arange(41) / 40
    late = np.exp(-10 * long) + 0.15 + 0.9 * np.maximum(long - 0.6, 0)
    yield Case(
        "overfitting",
        f"turns late, {size}",
        wanted,
        _curve(_exponential(2000, 5), 40, noise, seed + 31, val=late, scale=2e4),
    )
    gap = 0.3 * np.exp(-8 * at) + 0.7
    yield Case(
        "overfitting",
        f"a wide gap, {size}",
        wanted,
        _curve(_exponential(480, 8), 24, noise, seed + 32, val=gap, floor=0.01),
    )
    once = 1 + 1.5 * (1 - np.exp(-3 * at))
    yield Case(
        "overfitting",
        f"from the first epoch, {size}",
        wanted,
        _curve(_exponential(240, 6), 24, noise, seed + 33, val=once, scale=2.3),
    )


# --- of the fall ---


def _underfitting(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("underfitting",)
    size = f"noise {noise:g}"
    many = _curve(_hyperbola(600, 60, 1.5), 20, noise, seed + 40, scale=0.6, floor=2.8, val=0.02)
    yield Case("underfitting", f"stops high, {size}", wanted, many)
    quick = _curve(_exponential(3000, 200), 30, noise, seed + 41, scale=900.0, floor=4.0, val=0.03)
    yield Case("underfitting", f"a quick drop, {size}", wanted, quick)
    none = _curve(_exponential(400, 15), 16, noise, seed + 42, scale=0.3, floor=2.3, val=None)
    yield Case("underfitting", f"no validation, {size}", wanted, none)


def _still(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("still-improving",)
    size = f"noise {noise:g}"
    slowing = _exponential(700, 1.8)
    yield Case(
        "still-improving",
        f"under two lives, {size}",
        wanted,
        _curve(slowing, 14, noise, seed + 50, scale=1e-5, floor=0.0),
    )
    on = 0.55 * _exponential(2000, 25) + 0.45 * (1 - _time(2000))
    yield Case(
        "still-improving",
        f"a quick drop and a line, {size}",
        wanted,
        _curve(on, 10, noise, seed + 51, scale=4.0, floor=0.5),
    )
    alone = 1 / np.sqrt(1 + 4 * _time(5000))
    yield Case(
        "still-improving",
        f"a root, no validation, {size}",
        wanted,
        _curve(alone, 20, noise, seed + 52, floor=0.0, val=None),
    )


def _plateau(noise: float, seed: int) -> Iterator[Case]:
    size = f"noise {noise:g}"
    wanted = ("plateau-at-start",)
    yield Case(
        "plateau-at-start",
        f"a third, {size}",
        wanted,
        _curve(_sigmoid(900, 0.4, 45), 30, noise, seed + 60, scale=2.2),
    )
    late = _sigmoid(400, 0.65, 50)
    yield Case(
        "plateau-at-start",
        f"over half, no validation, {size}",
        wanted,
        _curve(late, 20, noise, seed + 61, scale=70.0, val=None),
    )
    steps = 6000
    corner = np.exp(-15 * np.maximum(_time(steps) - 0.3, 0))
    yield Case(
        "plateau-at-start",
        f"a corner, {size}",
        wanted,
        _curve(corner, 12, noise, seed + 62, scale=0.05, grows=True),
    )
    flat = np.zeros(61)
    yield Case(
        "plateau-at-start",
        f"never leaves, 3 epochs of 20, {size}",
        ("plateau-at-start", "underfitting"),
        _curve(flat, 3, noise, seed + 63, floor=2.3, val=np.zeros(4)),
        "coarse-grid",
    )


def _slow(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("slow-descent",)
    size = f"noise {noise:g}"
    line = 1 - _time(600)
    yield Case(
        "slow-descent",
        f"a line, {size}",
        wanted,
        _curve(line, 12, noise, seed + 70, scale=0.4, floor=4.5, val=0.0),
    )
    bent = 1 - 0.85 * _time(1200) - 0.15 * _time(1200) * (2 - _time(1200))
    yield Case(
        "slow-descent",
        f"hardly bent, no validation, {size}",
        wanted,
        _curve(bent, 15, noise, seed + 71, scale=3e4, floor=2.0, val=None),
    )
    short = 1 - _time(300)
    yield Case(
        "slow-descent",
        f"5 epochs of 60, {size}",
        wanted,
        _curve(short, 5, noise, seed + 72, scale=0.2, floor=11.0, val=0.0),
        "coarse-grid",
    )


# --- of stability ---


def _rising(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("loss-rising",)
    size = f"noise {noise:g}"
    up = _time(450) ** 0.7
    yield Case(
        "loss-rising",
        f"from the start, {size}",
        wanted,
        _curve(up, 15, noise, seed, scale=3.0, floor=0.8, grows=True),
    )
    back = _exponential(1000, 12) + 0.7 * _sigmoid(1000, 0.65, -25)
    yield Case("loss-rising", f"falls and comes back, {size}", wanted, _curve(back, 20, noise, seed + 1))
    bursts = _exponential(600, 9) + 0.02 * np.expm1(6 * np.maximum(_time(600) - 0.3, 0))
    yield Case(
        "loss-rising",
        f"faster and faster, no validation, {size}",
        wanted,
        _curve(bursts, 12, noise, seed + 2, scale=500.0, val=None),
    )
    below = 0.9 * _time(60) + 0.3 * _exponential(60, 20)
    yield Case(
        "loss-rising",
        f"negative, 3 epochs of 20, {size}",
        wanted,
        _curve(below, 3, noise / 2, seed + 3, scale=2.0, floor=-5.0, val=0.0),
        "coarse-grid",
    )


def _oscillating(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("oscillating",)
    size = f"noise {noise:g}"
    time = _time(900)
    grown = _exponential(900, 10) + 0.3 + 0.35 * np.sqrt(time) * np.sin(2 * np.pi * 8.3 * time)
    yield Case(
        "oscillating",
        f"waves, {size}",
        wanted,
        _curve(grown, 30, noise, seed + 10, scale=1e-3, floor=0.2),
    )
    saw = _exponential(900, 10) + 0.5 * ((7.4 * time) % 1.0)
    yield Case(
        "oscillating",
        f"a saw, no validation, {size}",
        wanted,
        _curve(saw, 20, noise, seed + 11, scale=20.0, val=None),
    )
    random = np.random.default_rng(seed + 12)
    lengths = np.repeat([0.0, 0.5] * 6, random.integers(60, 110, size=12))[:901]
    leaps = _exponential(len(lengths) - 1, 12) + lengths
    yield Case("oscillating", f"leaps, {size}", wanted, _curve(leaps, 20, noise, seed + 12, floor=0.2))
    steps = np.arange(2001)
    turns = _exponential(2000, 9) + 0.45 + 0.4 * (-1.0) ** steps * (1 - 0.3 * np.cos(steps / 90))
    yield Case(
        "oscillating",
        f"every step, {size}",
        wanted,
        _curve(turns, 10, noise, seed + 13, scale=0.3),
    )


def _spikes(noise: float, seed: int) -> Iterator[Case]:
    wanted = ("loss-spike",)
    size = f"noise {noise:g}"
    once = _exponential(600, 9)
    once[200] += 6.0
    yield Case("loss-spike", f"one step, {size}", wanted, _curve(once, 20, noise, seed + 20, scale=2.0))
    thrice = _exponential(3000, 12)
    thrice[[700, 1650, 2800]] += (5.0, 8.0, 6.0)
    yield Case(
        "loss-spike",
        f"three steps of 3,000, no validation, {size}",
        wanted,
        _curve(thrice, 12, noise, seed + 21, scale=1e3, val=None),
    )
    steps = np.arange(10_001)
    slow = _exponential(10_000, 25) + np.where(
        steps >= 6200, 2.5 * np.exp(-np.maximum(steps - 6200, 0) / 60), 0
    )
    yield Case(
        "loss-spike",
        f"60 of 10,000 steps, {size}",
        wanted,
        _curve(slow, 10, noise, seed + 22, scale=0.02, floor=0.3),
    )
    few = np.arange(301)
    built = _exponential(300, 8) + 2.0 * np.exp(-np.abs(few - 190) / 5.0)
    yield Case(
        "loss-spike",
        f"builds up and recovers, {size}",
        wanted,
        _curve(built, 15, noise, seed + 23, scale=5.0, floor=-3.0),
    )


def _ended() -> Iterator[Case]:
    """Yield trainings that stopped being finite."""
    for name, kept, step, val in (
        ("ends in NaN, 3 epochs of 20", 2, 47, 0.02),
        ("ends in NaN, no validation", 7, 161, None),
    ):
        epochs = 3 if kept == 2 else 10
        whole = _curve(_exponential(20 * epochs, 3), epochs, 0.05, 5 + step, scale=2.3, val=val)
        rows: list[dict[str, float | int | None]] = [dict(row) for row in whole.evaluations[: kept + 1]]
        rows.append({"epoch": kept + 1, "step": step, "train_loss": None})
        if val is not None:
            rows[-1]["val_loss"] = None
        grid = "coarse-grid" if epochs == 3 else "refine-grid"
        yield Case("loss-rising", name, ("loss-rising",), Curve(whole.loss[:step], rows), grid)
