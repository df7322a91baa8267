"""The synthetic half that was judged: other shapes, other lengths, and noise that is not Gaussian."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from benchmarks.curves.case import HEALTHY, Case, drawn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.curves.case import Floats

    from lrtune.results import Curve

SIZES = (0.02, 0.08, 0.25)  # scale of a minibatch's noise, as a share of the fall


def cases() -> Iterator[Case]:
    """Yield every curve of this half."""
    for number, size in enumerate(SIZES):
        for name, draw in _DRAWS.items():
            seed = 1000 * number + 100 * list(_DRAWS).index(name)
            label = f"{name} noise {size:g}"
            yield from _healthy(size, seed, label, draw)
            yield from _ill(size, seed + 50, label, draw)
    zero = drawn(np.zeros(121), np.zeros(13), 12, np.zeros, np.zeros)
    yield Case("constant", "zero", ("plateau-at-start", "underfitting"), zero)
    below = drawn(np.full(121, -3.5), None, 12, np.zeros, np.zeros)
    yield Case("constant", "below zero, no validation", ("plateau-at-start", "underfitting"), below)


def _heavy(random: np.random.Generator, count: int) -> Floats:
    """Student's t with 4 degrees of freedom, scaled to a standard deviation of 1."""
    return random.standard_t(4, size=count) / np.sqrt(2.0)


def _skewed(random: np.random.Generator, count: int) -> Floats:
    """Centred gamma noise: most losses a little low, some far up, as of small batches."""
    return random.gamma(2.0, 1.0, size=count) / np.sqrt(2.0) - np.sqrt(2.0)


_DRAWS: dict[str, Callable[[np.random.Generator, int], Floats]] = {"heavy": _heavy, "skewed": _skewed}


def _curve(
    level: Floats,
    val: Floats | None,
    epochs: int,
    size: float,
    seed: int,
    draw: Callable[[np.random.Generator, int], Floats],
    val_size: float | None = None,
) -> Curve:
    random = np.random.default_rng(seed)
    own = size / 15 if val_size is None else val_size
    return drawn(
        level,
        val,
        epochs,
        lambda count: size * draw(random, count),
        lambda count: size / 15 * random.normal(size=count),
        lambda count: own * random.normal(size=count),
    )


def _time(steps: int) -> Floats:
    return np.arange(steps + 1) / steps


def _stretched(steps: int, life: float) -> Floats:
    """A stretched exponential from 1: a fast beginning and a long tail."""
    return np.exp(-((_time(steps) / life) ** 0.7))


def _each_epoch(level: Floats, epochs: int) -> Floats:
    return level[[(len(level) - 1) * epoch // epochs for epoch in range(epochs + 1)]]


def _healthy(size: float, seed: int, label: str, draw: Callable[..., Floats]) -> Iterator[Case]:
    good = 0.7 * _stretched(600, 0.05) + 0.05
    val = _each_epoch(good, 20) * 1.1
    yield Case("converged", label, ("converged",), _curve(good, val, 20, 0.7 * size, seed, draw))
    deep = 40 * _stretched(3000, 0.04) - 90
    yield Case(
        "healthy",
        f"negative, {label}",
        HEALTHY,
        _curve(deep, _each_epoch(deep, 12) + 1, 12, 40 * size, seed + 1, draw),
    )
    small = 3e-5 * (_stretched(240, 0.06) + 0.01)
    yield Case(
        "healthy",
        f"near zero, no validation, {label}",
        HEALTHY,
        _curve(small, None, 12, 3e-5 * size, seed + 2, draw),
    )
    early = 1.6 / (1 + 30 * _time(60)) + 0.4
    yield Case(
        "healthy",
        f"coarse, 3 epochs, {label}",
        HEALTHY,
        _curve(early, _each_epoch(early, 3) + 0.05, 3, 1.2 * size, seed + 3, draw),
        "coarse-grid",
    )
    few = _each_epoch(good, 15) + 0.05
    yield Case(
        "healthy",
        f"20 validation examples, {label}",
        HEALTHY,
        _curve(good, few, 15, 0.7 * size, seed + 4, draw, val_size=0.02),
    )
    long = 5 * _stretched(10_000, 0.02) + 1.2
    yield Case(
        "healthy",
        f"10,000 steps, {label}",
        HEALTHY,
        _curve(long, _each_epoch(long, 10) + 0.2, 10, 5 * size, seed + 5, draw),
    )


def _ill(size: float, seed: int, label: str, draw: Callable[..., Floats]) -> Iterator[Case]:
    t, epoch = _time(360), np.arange(19) / 18
    train = 3 / (1 + 40 * t)
    turned = 1.2 + 1.8 * np.exp(-25 * epoch) + 1.1 * epoch**2
    yield Case(
        "overfitting", f"rise, {label}", ("overfitting",), _curve(train, turned, 18, 3 * size, seed, draw)
    )
    apart = 3 - 1.0 * (1 - np.exp(-20 * epoch))
    yield Case(
        "overfitting", f"gap, {label}", ("overfitting",), _curve(train, apart, 18, 3 * size, seed + 1, draw)
    )
    shallow = 0.7 + 0.3 * _stretched(360, 0.05)
    yield Case(
        "underfitting",
        label,
        ("underfitting",),
        _curve(shallow, _each_epoch(shallow, 18) + 0.01, 18, 0.3 * size, seed + 2, draw),
    )
    stuck = 1.9 + 0.9 * np.exp(-t / 0.01)
    yield Case(
        "high plateau",
        label,
        ("underfitting",),
        _curve(stuck, _each_epoch(stuck, 18) + 0.02, 18, 0.9 * size, seed + 3, draw),
    )
    falling = 2 * (1 + 6 * t) ** -0.8
    yield Case(
        "still-improving",
        label,
        ("still-improving",),
        _curve(falling, _each_epoch(falling, 18) + 0.03, 18, 1.6 * size, seed + 4, draw),
    )
    slow = 6 - 1.2 * t - 0.1 * (1 - np.exp(-3 * t))
    yield Case(
        "slow-descent",
        label,
        ("slow-descent",),
        _curve(slow, _each_epoch(slow, 18) + 0.02, 18, 1.3 * size, seed + 5, draw),
    )
    logistic = 0.2 + 2.5 / (1 + np.exp(30 * (t - 0.5)))
    yield Case(
        "plateau-at-start",
        label,
        ("plateau-at-start",),
        _curve(logistic, _each_epoch(logistic, 18) + 0.05, 18, 2.5 * size, seed + 6, draw),
    )
    back = 1 + 1.5 * np.exp(-t / 0.08) + 1.4 / (1 + np.exp(-20 * (t - 0.7)))
    yield Case(
        "loss-rising",
        label,
        ("loss-rising",),
        _curve(back, _each_epoch(back, 18) + 0.05, 18, 1.5 * size, seed + 7, draw),
    )
    saw = 0.5 + 1.4 * np.exp(-t / 0.1) + 0.7 * (np.arange(361) % 45) / 45
    yield Case(
        "oscillating",
        f"saw, {label}",
        ("oscillating",),
        _curve(saw, _each_epoch(saw, 18) + 0.05, 18, 1.4 * size, seed + 8, draw),
    )
    ring = 0.9 + 1.4 * np.exp(-t / 0.1) + 0.55 * np.cos(np.pi * 0.9 * np.arange(361))
    yield Case(
        "oscillating",
        f"nearly every step, {label}",
        ("oscillating",),
        _curve(ring, _each_epoch(ring, 18) + 0.05, 18, 1.4 * size, seed + 9, draw),
    )
    calm = 0.1 + 1.6 * _stretched(360, 0.05)
    hit = calm.copy()
    hit[[150, 290]] += 3.5
    yield Case(
        "loss-spike",
        f"two steps, {label}",
        ("loss-spike",),
        _curve(hit, _each_epoch(calm, 18) + 0.03, 18, 1.6 * size, seed + 10, draw),
    )
    bump = calm + 1.5 * np.exp(-0.5 * ((np.arange(361) - 220) / 6) ** 2)
    yield Case(
        "loss-spike",
        f"bump, {label}",
        ("loss-spike",),
        _curve(bump, _each_epoch(calm, 18) + 0.03, 18, 1.6 * size, seed + 11, draw),
    )
