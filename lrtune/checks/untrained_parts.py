"""Checks of parts that training does not reach: frozen at random values, or behind a draw without a gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding
from lrtune.checks.words import listed

if TYPE_CHECKING:
    from lrtune.probes.parameters.drawn_paths import DrawnPath
    from lrtune.probes.parameters.frozen_weights import FrozenWeights
    from lrtune.results import Finding

# Of the parameters or of the layers: a smaller part may be a fixed stem (Chen et al., "MoCo v3", 2021) or filter bank.
# A small net with a frozen backbone under a wide last layer had 0.37 of the parameters and 0.67 of the layers.
_MUCH_FROZEN = 0.5


def frozen_at_random(seen: FrozenWeights) -> Finding | None:
    """What is frozen has been trained before."""
    share = seen.drawn / seen.total
    if max(share, len(seen.layers) / seen.of_layers) < _MUCH_FROZEN:
        return None
    message = (
        f"{share:.0%} of the parameters are frozen, and their values are random: no trained weights were loaded "
        f"({listed(seen.layers)} differ from seed to seed)."
    )
    fix = "Load the trained weights before freezing, or let these layers train."
    return finding("frozen-model", message, share, f"< {_MUCH_FROZEN:g}", fix)


def deaf_to_draws(seen: DrawnPath) -> Finding | None:
    """What a model draws from hears of what comes of the draw."""
    if not seen.deaf or seen.heard:
        return None
    count = len(seen.deaf)
    message = (
        f"{count} parameter{'s' * (count > 1)} shape what the model draws, but no gradient comes back through the "
        f"draw; theirs is the same whatever was drawn: {listed(seen.deaf)}."
    )
    fix = "Draw with rsample() instead of sample(), or write mean + deviation * torch.randn_like(deviation)."
    return finding("parameter-without-gradient", message, count, "0", fix)
