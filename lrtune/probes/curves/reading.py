"""All that is measured of one curve, for the checks to judge."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.probes.curves.fall import fall_of
from lrtune.probes.curves.noise import noise_scale
from lrtune.probes.curves.rise import rise_of
from lrtune.probes.curves.series import series_of
from lrtune.probes.curves.spikes import spikes_of
from lrtune.probes.curves.swings import swings_of
from lrtune.probes.curves.trend import last_part, trend_of
from lrtune.probes.curves.validation import validation_of

if TYPE_CHECKING:
    from lrtune.probes.curves.fall import Fall
    from lrtune.probes.curves.rise import Rise
    from lrtune.probes.curves.series import Series
    from lrtune.probes.curves.spikes import Spike
    from lrtune.probes.curves.swings import Swings
    from lrtune.probes.curves.trend import Trend
    from lrtune.probes.curves.validation import Validation
    from lrtune.results import Curve

SWING, SINGLE_SPIKE, LASTING_SPIKE = 0.15, 1.0, 0.25  # of the fall: heights that are worth looking at
_FEW = 6  # evaluations: the differences of fewer hold mostly the fall itself


@dataclass(frozen=True)
class CurveReading:
    """One training, read.

    Attributes:
        series: Its numbers.
        scale: How far its training loss fell: the unit that heights are judged in.
        train: The fall of the training loss on the fixed subset.
        val: That of the validation loss, None without one.
        train_end: The trend of the training loss over the last third of the evaluations.
        val_end: That of the validation loss.
        rise: Of the minibatch losses' last part over their lowest.
        swings: Of the minibatch losses.
        spikes: Of the minibatch losses.
        validation: Beside training, None without a validation set.
    """

    series: Series
    scale: float
    train: Fall
    val: Fall | None
    train_end: Trend
    val_end: Trend | None
    rise: Rise
    swings: Swings
    spikes: list[Spike]
    validation: Validation | None


def read_curve(curve: Curve) -> CurveReading | None:
    """Measure a curve; None where it holds too little: fewer than two evaluations, and fewer than 20 steps."""
    series = series_of(curve)
    if len(series.train) < 2:
        return None
    train, rise = fall_of(series.train, _most_noise(series)), rise_of(series.loss)
    scale = max(train.depth, rise.fall if len(series.loss) else 0.0)
    val = series.val
    return CurveReading(
        series=series,
        scale=scale,
        train=train,
        val=None if val is None else fall_of(val),
        train_end=trend_of(last_part(series.train)),
        val_end=None if val is None else trend_of(last_part(val)),
        rise=rise,
        # Where the loss does not fall, ups and downs of the evaluations are all there is of it.
        swings=swings_of(series.loss, series.train[: len(series.train) * train.clear], SWING * scale),
        spikes=spikes_of(series.loss, SINGLE_SPIKE * scale, LASTING_SPIKE * scale),
        validation=None if val is None else validation_of(series.train, val),
    )


def _most_noise(series: Series) -> float:
    """Return what an evaluation's noise cannot exceed, as the minibatches of its epoch say; no bound where many are."""
    if len(series.train) >= _FEW or not len(series.loss):
        return math.inf
    return noise_scale(series.loss) / math.sqrt(max(1, len(series.loss) // (len(series.train) - 1)))
