"""Checks of how a loss comes down: late, in a straight line, not to the end yet, or to its end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.curves.stability import FEWEST_SWINGS

if TYPE_CHECKING:
    from lrtune.checks.curves.setting import Setting
    from lrtune.probes.curves.fall import Fall
    from lrtune.probes.curves.reading import CurveReading
    from lrtune.probes.curves.trend import Trend
    from lrtune.results import Finding

IMPROVING = (
    0.05  # of the fall, in the last third: an exponential that does so has 2% of its fall still before it
)
SETTLED = 0.02  # likewise; the grids call less than that no difference
LATE = 0.2  # of the course before a tenth of the fall: a line takes 0.1
EVEN_LOW, EVEN_HIGH = (
    0.6,
    1.7,
)  # second half's fall over the first's: 1 for a line, 0.6 after one time constant
_FEWEST_STEPS = 20  # of a plateau: momentum 0.9 takes 10 to come up to speed
_NOISE = 3.0  # standard deviations that a tenth of the fall has to exceed
_CLEAR = 5.0  # standard errors
_LEAST = 1e-4  # of the first loss: below it a rise is rounding
KEPT = 0.5  # of the first loss: half an explanation, as for underfitting; a few epochs that do more are quick
_FEWEST_EVALUATIONS = 4  # for halves to be measured and not drawn
_LINE_NOISE = 8.0  # likewise the whole fall, for its halves to be compared


def plateau_at_start(reading: CurveReading, setting: Setting) -> Finding | None:
    """The loss begins to fall within the first fifth of the training."""
    train = reading.train
    if learns_nothing(reading):
        where = "ends at" if reading.swings.rises else "never leaves"
        message = (
            f"The training loss {where} its first value, {train.first:.4g}, to within the noise "
            f"({train.noise:.2g}), in {len(reading.series.loss)} steps."
        )
        return finding("plateau-at-start", message, 1.0, f"< {LATE:g} of the training")
    if not setting.long_enough or not train.clear or train.depth / 10 < _NOISE * train.noise:
        return None
    if train.begun < LATE or train.begun * setting.epochs * setting.steps < _FEWEST_STEPS:
        return None
    message = (
        f"The training loss takes {train.begun:.0%} of the training for the first tenth of its fall, from "
        f"{train.first:.4g}; then it falls to {train.lowest:.4g}."
    )
    return finding("plateau-at-start", message, train.begun, f"< {LATE:g} of the training")


def learns_nothing(reading: CurveReading) -> bool:
    """Say whether the loss neither falls nor rises by more than its noise; up to two ups and downs are no matter."""
    train, series = reading.train, reading.series
    if train.clear or series.ended or len(reading.swings.rises) >= FEWEST_SWINGS:
        return False
    rises = train.last - train.first > max(_CLEAR * train.noise, _LEAST * abs(train.first))
    return not rises and reading.rise.fall <= _CLEAR * reading.rise.error


def slow_descent(reading: CurveReading, setting: Setting) -> Finding | None:
    """The loss falls fast first and slowly then, or a higher rate has been tried."""
    train = reading.train
    if setting.higher_rate_tried or not train.clear or not (setting.long_enough or _got_nowhere(reading)):
        return None
    if not EVEN_LOW <= train.evenness <= EVEN_HIGH or train.begun >= LATE:
        return None
    if train.depth < _LINE_NOISE * train.noise or not reading.train_end.falls:
        return None
    message = (
        f"The training loss falls in nearly a straight line, from {train.first:.4g} to {train.last:.4g}: by "
        f"{train.evenness:.2f} times as much in the second half as in the first, and no higher rate was tried."
    )
    return finding("slow-descent", message, train.evenness, f"< {EVEN_LOW:g}")


def _got_nowhere(reading: CurveReading) -> bool:
    """Whether so little was learnt that a line is slow, however short the training: few epochs may be a line's length.

    Of losses below 0 nobody knows how low they can get.
    """
    train = reading.series.train
    return len(train) >= _FEWEST_EVALUATIONS and float(train.min()) > KEPT * reading.train.first > 0


def still_improving(reading: CurveReading, setting: Setting) -> Finding | None:
    """The loss has come to rest, as far as training for longer could show."""
    name, fall, end = _judged(reading)
    if not setting.long_enough or not fall.clear or not end.falls:
        return None
    share = end.drop / fall.depth
    if share < IMPROVING or not reading.train.clear:
        return None
    message = (
        f"The {name} loss was still falling when training stopped after {setting.epochs} epochs: the last third "
        f"brought {end.drop:.3g}, {share:.0%} of the whole fall."
    )
    fix = (
        "Train for longer, go back to step 5: lrtune grid --refine CONFIG --set refine.epochs="
        f"{2 * setting.epochs}"
    )
    return finding("still-improving", message, share, f"< {IMPROVING:g} of the fall", fix)


def _judged(reading: CurveReading) -> tuple[str, Fall, Trend]:
    """Return validation where it tells, else training.

    A validation set of few examples may be too noisy to tell; where it does not rise, training's word counts.
    """
    val, end = reading.val, reading.val_end
    if val is None or end is None:
        return "training", reading.train, reading.train_end
    too_noisy = 3 * end.error > IMPROVING * max(val.depth, reading.train.depth) and end.drop > 0
    return ("training", reading.train, reading.train_end) if too_noisy else ("validation", val, end)


def converged(reading: CurveReading, setting: Setting) -> Finding | None:
    """Told where training and validation loss have come to rest: going on would change nothing."""
    ends = [(reading.train, reading.train_end)]
    if reading.val is not None and reading.val_end is not None:
        ends.append((reading.val, reading.val_end))
    if not setting.long_enough or not all(_settled(fall, end) for fall, end in ends):
        return None
    share = max(end.drop / fall.depth for fall, end in ends)
    message = (
        f"The loss has come to rest: the last third of the training changed it by {share:.1%} of its whole fall "
        f"(training {reading.train.last:.4g}{_and_validation(reading)})."
    )
    return finding("converged", message, share, f"< {SETTLED:g} of the fall")


def _settled(fall: Fall, end: Trend) -> bool:
    if not fall.clear or 2 * end.error > IMPROVING * fall.depth:
        return False
    return abs(end.drop) - 2 * end.error < SETTLED * fall.depth and abs(end.drop) < IMPROVING * fall.depth


def _and_validation(reading: CurveReading) -> str:
    return "" if reading.val is None else f", validation {reading.val.last:.4g}"
