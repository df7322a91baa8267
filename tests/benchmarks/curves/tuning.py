"""The synthetic half that thresholds were set on: exponentials, lines and sines under Gaussian noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from benchmarks.curves.case import HEALTHY, Case, drawn

from lrtune.results import Curve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.curves.case import Floats

NOISES = (0.01, 0.05, 0.2)  # standard deviation of a minibatch loss, as a share of the fall
_JITTER = 0.05  # of a minibatch's noise: what an evaluation on many examples still has
_FLAT = ("plateau-at-start", "underfitting")
_UNLEARNT = ("underfitting",)


def cases() -> Iterator[Case]:
    """Yield every curve of this half."""
    for number, noise in enumerate(NOISES):
        yield from _healthy(noise, 100 * number)
        yield from _ill(noise, 100 * number + 50)
        yield from _unlike_normal(noise, 100 * number + 90)
    yield Case("constant", "exactly", _FLAT, _curve(np.full(301, 2.3), 15, 0.0, 1))
    yield Case("constant", "noisy", _FLAT, _curve(np.full(301, 2.3), 15, 0.1, 2))
    diverged = _curve(_decay(300, 8) + 0.1, 15, 0.01, 3)
    ended: list[dict[str, float | int | None]] = [*diverged.evaluations[:9]]
    ended.append({"epoch": 9, "step": 175, "train_loss": None, "val_loss": None})
    yield Case("loss-rising", "ends in NaN", ("loss-rising",), Curve(diverged.loss[:175], ended))


def _decay(steps: int, lives: float) -> Floats:
    """An exponential from 1 with so many time constants in the whole."""
    return np.exp(-lives * np.arange(steps + 1) / steps)


def _curve(level: Floats, epochs: int, noise: float, seed: int, val: Floats | float | None = 0.03) -> Curve:
    """A curve with Gaussian noise; `val` is validation's surplus over training, or its levels, or None."""
    random = np.random.default_rng(seed)
    at = [(len(level) - 1) * epoch // epochs for epoch in range(epochs + 1)]
    levels = level[at] + val * (1 - _decay(epochs, 3)) if isinstance(val, float) else val
    return drawn(
        level,
        levels,
        epochs,
        lambda count: noise * random.normal(size=count),
        lambda count: _JITTER * noise * random.normal(size=count),
    )


def _healthy(noise: float, seed: int) -> Iterator[Case]:
    size = f"noise {noise:g}"
    yield Case("converged", size, ("converged",), _curve(2.2 * _decay(450, 9) + 0.1, 15, 2.2 * noise, seed))
    yield Case(
        "healthy", f"10,000 steps, {size}", HEALTHY, _curve(2 * _decay(10_000, 30) + 0.3, 10, noise, seed + 1)
    )
    yield Case(
        "healthy", f"negative, {size}", HEALTHY, _curve(3 * _decay(400, 7) - 6, 15, 3 * noise, seed + 2)
    )
    tiny = 1e-6 * _curve_level(500)
    yield Case("healthy", f"near zero, {size}", HEALTHY, _curve(tiny, 15, 1e-6 * noise, seed + 3, 1e-8))
    yield Case(
        "healthy", f"no validation, {size}", HEALTHY, _curve(_decay(300, 7), 15, noise, seed + 4, None)
    )
    short = _curve(2.2 * _decay(60, 2.5) + 0.1, 3, 2.2 * noise, seed + 5)
    yield Case("healthy", f"coarse, 3 epochs, {size}", HEALTHY, short, "coarse-grid")
    random = np.random.default_rng(seed + 6)
    shaken = 0.6 * _decay(15, 5) + 0.1 + 0.1 * noise * random.normal(size=16)
    few = _curve(0.6 * _decay(300, 6) + 0.08, 15, 0.6 * noise, seed + 7, shaken)
    yield Case("healthy", f"20 validation examples, {size}", HEALTHY, few)


def _unlike_normal(noise: float, seed: int) -> Iterator[Case]:
    """Healthy curves under noise with a long upper tail, as of small batches."""
    size = f"noise {noise:g}"
    random = np.random.default_rng(seed)
    for steps in (60, 400, 10_000):
        level = 1.5 * _decay(steps, 9) + 0.2
        epochs, grid = (3, "coarse-grid") if steps == 60 else (12, "refine-grid")
        curve = _curve(level, epochs, 0.0, seed)
        for name, draws in (
            ("Laplace", random.laplace(size=steps) / np.sqrt(2)),
            ("lognormal", (np.exp(0.8 * random.normal(size=steps)) - np.exp(0.32)) / 1.3),
        ):
            losses = [float(loss) for loss in level[:-1] + 1.5 * noise * draws]
            kept = Curve(losses, curve.evaluations)
            yield Case("healthy", f"{name}, {steps} steps, {size}", HEALTHY, kept, grid)


def _curve_level(steps: int) -> Floats:
    return _decay(steps, 8) + 0.02


def _ill(noise: float, seed: int) -> Iterator[Case]:
    size = f"noise {noise:g}"
    at = np.arange(16) / 15
    train = 2.2 * _decay(450, 6) + 0.1
    rising = 2.2 * np.exp(-8 * at) + 0.4 + 0.9 * np.maximum(at - 0.3, 0)
    yield Case("overfitting", f"rise, {size}", ("overfitting",), _curve(train, 15, 2.2 * noise, seed, rising))
    gap = 0.8 * np.exp(-6 * at) + 1.5
    yield Case("overfitting", f"gap, {size}", ("overfitting",), _curve(train, 15, 2.2 * noise, seed + 1, gap))
    high = 0.5 * _decay(450, 12) + 1.8
    yield Case("underfitting", size, _UNLEARNT, _curve(high, 15, 0.5 * noise, seed + 2, 0.01))
    quick = 0.9 * _decay(450, 60) + 1.4
    yield Case("high plateau", size, _UNLEARNT, _curve(quick, 15, 0.9 * noise, seed + 3, 0.01))
    on = 2.2 * _decay(450, 2) + 0.1
    yield Case("still-improving", size, ("still-improving",), _curve(on, 15, 2.2 * noise, seed + 4))
    line = 2.3 - 0.8 * np.arange(451) / 450
    yield Case("slow-descent", size, ("slow-descent",), _curve(line, 15, 0.8 * noise, seed + 5))
    late = 0.1 + 2.2 * np.where(np.arange(451) < 180, 1.0, np.exp(-12 * (np.arange(451) - 180) / 450))
    yield Case("plateau-at-start", size, ("plateau-at-start",), _curve(late, 15, 2.2 * noise, seed + 6))
    turning = 2 * _decay(450, 10) + 0.3 + 1.2 * np.maximum(np.arange(451) / 450 - 0.4, 0)
    yield Case("loss-rising", f"turns, {size}", ("loss-rising",), _curve(turning, 15, 2 * noise, seed + 7))
    up = 2.3 + 1.5 * np.arange(451) / 450
    yield Case("loss-rising", f"from the start, {size}", ("loss-rising",), _curve(up, 15, noise, seed + 8))
    steps = np.arange(451)
    swings = 1.5 * _decay(450, 8) + 0.8 + 0.35 * np.sin(2 * np.pi * steps / 70)
    yield Case("oscillating", f"slow, {size}", ("oscillating",), _curve(swings, 15, 1.5 * noise, seed + 9))
    flips = 1.5 * _decay(450, 8) + 0.8 + 0.5 * (-1.0) ** steps
    yield Case(
        "oscillating", f"every step, {size}", ("oscillating",), _curve(flips, 15, 1.5 * noise, seed + 10)
    )
    fine = 2.2 * _decay(450, 9) + 0.1
    one = fine.copy()
    one[240] += 4.0
    yield Case("loss-spike", f"one step, {size}", ("loss-spike",), _curve(one, 15, 2.2 * noise, seed + 11))
    hurt = fine + np.where(steps >= 260, 2.0 * np.exp(-np.maximum(steps - 260, 0) / 12), 0.0)
    yield Case("loss-spike", f"recovered, {size}", ("loss-spike",), _curve(hurt, 15, 2.2 * noise, seed + 12))
