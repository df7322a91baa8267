"""Check of the order in which the user's own batches come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from lrtune.probes.data.order import Order
    from lrtune.results import Finding

_SORTED = 0.1  # of the targets' variance between eight stretches
_KEPT = (
    0.5  # of the share between batches that stretches keep: sorted data 0.9, exchangeable batches (s-1)/(k-1)
)
_PURE = 0.6  # between batches: sorted classes have 0.64 and more, two classes drawn for each batch 0.48
_CERTAIN = 6.0  # deviations from chance


def unshuffled_batches(seen: Order) -> Finding | None:
    """The place in the epoch tells nothing about the target."""
    if seen.significance < _CERTAIN:
        return None
    exchangeable = (seen.stretches - 1) / max(seen.batches - 1, 1)
    kept = seen.between_stretches >= max(_KEPT, 2 * exchangeable) * seen.between_batches
    if seen.between_batches < _PURE and not (kept and seen.between_stretches >= _SORTED):
        return None
    part = "" if seen.complete else "the first "
    message = (
        f"The batches come in the order of their targets: over {part}{seen.batches:,} batches "
        f"({seen.examples:,} examples) the place in the epoch explains {_larger(seen):.0%} of the targets' variance."
    )
    return finding("unshuffled-batches", message, _larger(seen), f"< {_SORTED:g}")


def _larger(seen: Order) -> float:
    return max(seen.between_batches, seen.between_stretches)
