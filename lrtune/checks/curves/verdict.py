"""All checks on one curve: what is wrong, or that it has converged."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.causes import cause_first
from lrtune.checks.curves.fit import overfitting, underfitting
from lrtune.checks.curves.progress import converged, plateau_at_start, slow_descent, still_improving
from lrtune.checks.curves.stability import loss_rising, loss_spike, oscillating

if TYPE_CHECKING:
    from lrtune.checks.curves.setting import Setting
    from lrtune.probes.curves.reading import CurveReading
    from lrtune.results import Finding

# A new check of a curve: one function in a file of its family, one line here.
CHECKS = (
    loss_rising,
    oscillating,
    loss_spike,
    plateau_at_start,
    overfitting,
    underfitting,
    slow_descent,
    still_improving,
)


def judge(reading: CurveReading, setting: Setting) -> list[Finding]:
    """Return what is wrong with a training, causes first; where nothing is, whether it has converged.

    A loss that rises again is not also judged by how far it came: a verdict that another contradicts is left out.
    """
    found = {one.code: one for check in CHECKS if (one := check(reading, setting)) is not None}
    if "loss-rising" in found:
        found = {code: one for code, one in found.items() if code not in _OF_A_FALL}
    if "overfitting" in found:
        found.pop("still-improving", None)  # of a validation loss too noisy to tell
    if not found:
        return [one for one in [converged(reading, setting)] if one]
    return cause_first(found.values())


_OF_A_FALL = ("slow-descent", "still-improving", "underfitting", "plateau-at-start")
