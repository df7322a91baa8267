"""Checks of a loss that does not come down quietly: rising, oscillating, with spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.checks.curves.setting import Setting
    from lrtune.probes.curves.reading import CurveReading
    from lrtune.results import Finding

RISE = 0.25  # of the fall: a quarter of what was learnt is lost again
_CLEAR = 5.0  # standard errors
_LEAST = 1e-4  # of the first loss: below it a rise is rounding
FEWEST_SWINGS = 3  # one rise is a spike or a turn, two may be two spikes
ALTERNATION = -0.4  # independent noise has 0, a loss that flips at every step -1
SCATTER = 0.1  # of the fall: below it the flips do not matter
_FEWEST_BATCHES = 4  # an epoch: with fewer, the same batches come every other step


def loss_rising(reading: CurveReading, setting: Setting) -> Finding | None:
    """The training loss ends finite, below where it began, and near its lowest."""
    series, train = reading.series, reading.train
    if series.ended:
        message = f"The loss stops being finite after step {len(series.loss)}."
        return finding("loss-rising", message, float(len(series.loss)), "finite to the end")
    if _ends_above(reading):
        message = (
            f"The training loss rises from {train.first:.4g} to {train.last:.4g}, and never fell by as much."
        )
        return finding("loss-rising", message, train.last, f"<= {train.first:.4g}")
    if not _turned(reading):
        return None
    share = reading.rise.height / reading.scale
    message = (
        f"The training loss turns after {reading.rise.lowest:.0%} of the steps: its last level lies "
        f"{reading.rise.height:.3g} above its lowest, {share:.0%} of all that it had fallen."
    )
    return finding("loss-rising", message, share, f"< {RISE:g} of the fall")


def _ends_above(reading: CurveReading) -> bool:
    """Whether the loss ends above its first value, by more than it ever fell."""
    train, later = reading.train, reading.series.train[1:]
    up = train.last - train.first
    if up <= max(train.depth, _LEAST * abs(train.first)):
        return False
    never_back = float(later.min()) > train.first and up > abs(train.first)
    return never_back or up > _CLEAR * train.noise


def _turned(reading: CurveReading) -> bool:
    """Whether minibatches and fixed subset both end above their lowest, one of them clearly, and do not come down."""
    rise, train, scale = reading.rise, reading.train, reading.scale
    on_subset = train.last - train.lowest
    if scale <= 0 or min(rise.height, on_subset) < RISE / 2 * scale or reading.train_end.falls:
        return False
    if len(reading.swings.rises) >= FEWEST_SWINGS and rise.height < max(reading.swings.rises):
        return False  # it ends on one of its swings
    on_steps = rise.height > max(RISE * scale, _CLEAR * rise.error)
    return on_steps or on_subset > max(RISE * scale, _CLEAR * train.noise)


def oscillating(reading: CurveReading, setting: Setting) -> Finding | None:
    """The loss does not go up and down by more than its noise, over many steps or from each to the next."""
    swings = reading.swings
    if len(swings.rises) >= FEWEST_SWINGS:
        share = max(swings.rises) / reading.scale
        message = (
            f"The smoothed loss rises and falls again {len(swings.rises)} times, by up to {max(swings.rises):.3g}, "
            f"{share:.0%} of all that it falls."
        )
        return finding("oscillating", message, float(len(swings.rises)), f"< {FEWEST_SWINGS}")
    if not reading.train.clear or not _flips(reading, setting):
        return None
    message = (
        f"The loss flips from each step to the next, by ±{swings.scatter:.3g}: a loss above its average is followed by "
        f"one below it (correlation {swings.alternation:.2f})."
    )
    return finding("oscillating", message, swings.alternation, f"> {ALTERNATION:g}")


def _flips(reading: CurveReading, setting: Setting) -> bool:
    swings = reading.swings
    by_chance = swings.alternation > min(ALTERNATION, -swings.chance)
    return not by_chance and swings.scatter > SCATTER * reading.scale and setting.steps >= _FEWEST_BATCHES


def loss_spike(reading: CurveReading, setting: Setting) -> Finding | None:
    """No loss lies far above its neighbours and the noise."""
    if not reading.spikes or not reading.train.clear or oscillating(reading, setting):
        return None
    highest = max(reading.spikes, key=lambda spike: spike.height)
    share = highest.height / reading.scale
    times = "a spike" if len(reading.spikes) == 1 else f"{len(reading.spikes)} spikes, the highest"
    message = (
        f"The loss has {times} at step {highest.step}: {highest.height:.3g} above its neighbours, {share:.0%} of all "
        f"that it falls, for {highest.steps} step{'s' if highest.steps > 1 else ''}."
    )
    return finding("loss-spike", message, share, "no spike of the loss")
