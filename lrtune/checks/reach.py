"""Check that a regression's targets lie where the outputs can get."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.data.reach import Reach
    from lrtune.results import Finding

_OUTSIDE = (
    0.1  # share of the targets; of standardised ones a fifth or more lie beyond a tanh's range, half below 0
)


def target_out_of_reach(seen: Reach) -> Finding | None:
    """No model of this form is kept from its targets by the function at its end."""
    if seen.outside < _OUTSIDE:
        return None
    ends = (
        (f"{seen.low:.4g}" if math.isfinite(seen.low) else "-inf"),
        (f"{seen.high:.4g}" if math.isfinite(seen.high) else "inf"),
    )
    by = f" ({seen.by})" if seen.by else ""
    message = (
        f"{seen.outside:.0%} of the targets lie outside of what the outputs can be{by}: outputs stay within "
        f"{ends[0]} to {ends[1]} whatever the parameters, targets run from {seen.smallest:.4g} to {seen.largest:.4g}."
    )
    fix = (
        "Take the activation or clamp after the last layer away, or bring the targets into its range (for instance "
        "(y - min) / (max - min) for a sigmoid)."
    )
    return finding("target-out-of-range", message, seen.outside, f"< {_OUTSIDE:g}", fix)
