"""Checks of what was learnt: by heart, or too little."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.checks.curves.setting import Setting
    from lrtune.probes.curves.reading import CurveReading
    from lrtune.results import Finding

RISE = 0.05  # of the fall: Prechelt's 5%, of the fall in place of the lowest loss, which may be 0 or below
CARRIED = 0.5  # of the fall: where less than half of it is seen on validation, most was learnt by heart
_RISE_ERRORS = 4.0  # standard errors: the lowest is the luckiest of a dozen
_GAP_ERRORS = 5.0
_FEWEST = 6  # evaluations, for a rise to be told from its noise
_AFTER = 2  # of them after the lowest
UNLEARNT = 0.5  # of the first loss: for squared error of standardised targets an R² of 0.5
_AT_REST = 0.1  # of the fall, in the last third
_LOWER = 0.1  # of the first loss: another trial that gets so much lower has the capacity
_TRACKS = 0.25  # of the fall: a gap below it is none
QUICK = 0.1  # of the training, for nine tenths of the fall


def overfitting(reading: CurveReading, setting: Setting) -> Finding | None:
    """The validation loss does not rise again, and most of what is learnt carries over to it."""
    found, val = reading.validation, reading.val
    if found is None or val is None or not reading.train.clear:
        return None
    scale = max(reading.train.depth, val.depth)
    if _rises(reading, scale):
        at = reading.series.epochs[found.at]
        message = (
            f"The validation loss is lowest around epoch {at:g}, at {found.lowest:.4g}, and ends {found.rise:.3g} "
            f"higher, {found.rise / scale:.0%} of the fall, while the training loss does not rise with it."
        )
        return finding("overfitting", message, found.rise / scale, f"< {RISE:g} of the fall")
    learnt = reading.train.first - reading.train.last
    lost = (1 - found.carried) * learnt
    noise = max(val.noise, reading.train.noise)
    if not found.carried < CARRIED or lost < _GAP_ERRORS * noise or found.gap < _TRACKS * learnt:
        return None
    message = (
        f"The training loss fell by {learnt:.3g}, the validation loss by {max(found.carried, 0.0):.0%} of that: it "
        f"ends {found.gap:.3g} above the training loss."
    )
    return finding("overfitting", message, found.carried, f">= {CARRIED:g} of the fall on both")


def _rises(reading: CurveReading, scale: float) -> bool:
    found, val = reading.validation, reading.series.val
    if found is None or val is None or len(val) < _FEWEST or found.at > len(val) - 1 - _AFTER:
        return False
    clear = found.rise > max(RISE * scale, _RISE_ERRORS * found.error)
    return clear and found.train_rise < found.rise / 2


def underfitting(reading: CurveReading, setting: Setting) -> Finding | None:
    """The training loss does not come to rest high up with validation beside it, unless another trial gets lower."""
    train = reading.train
    if not setting.long_enough or not train.clear or min(reading.series.train.min(), train.lowest) < 0:
        return None  # of losses below 0 nobody knows how low they can get
    drop = max(reading.train_end.drop, 0.0)
    if drop > _AT_REST * train.depth or train.last - drop < UNLEARNT * train.first or _has_gap(reading):
        return None
    lowest = setting.lowest_train_loss
    if lowest is not None and lowest < train.last - _LOWER * train.first:
        return None
    share = train.last / train.first
    message = f"The training loss comes to rest at {train.last:.4g}, {share:.0%} of where it began" + (
        "." if reading.val is None else f", with the validation loss beside it, at {reading.val.last:.4g}."
    )
    if train.done > QUICK:
        return finding("underfitting", message, share, f"< {UNLEARNT:g} of the first loss")
    message += f" Nine tenths of its fall took {train.done:.0%} of the training: a rate that is too high does that too."
    fix = (
        "First try lower rates, back in step 4: lrtune grid --coarse CONFIG --set coarse.lr=[...]; if they come to "
        "rest as high, give the model more capacity or better inputs."
    )
    return finding("underfitting", message, share, f"< {UNLEARNT:g} of the first loss", fix)


def _has_gap(reading: CurveReading) -> bool:
    """Whether validation ends above training, by more than examples that were harder from the first on explain."""
    found = reading.validation
    return found is not None and min(found.gap, found.opened) > _TRACKS * reading.train.depth
