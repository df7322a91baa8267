"""Checks of which parameters the first backward passes reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrtune.checks.catalogue import finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.initialisation import Gradients
    from lrtune.results import Finding

_NAMED = 4  # parameters listed in a message before "and N more"


def frozen_model(seen: Gradients) -> Finding | None:
    """At least one parameter requires a gradient."""
    if seen.trainable:
        return None
    message = f"No parameter requires a gradient: all {seen.total:,} numbers of the model are frozen."
    return finding("frozen-model", message, 0, "> 0")


def detached_loss(seen: Gradients) -> Finding | None:
    """The loss depends on the parameters."""
    if seen.connected or not seen.trainable:
        return None
    return finding(
        "detached-loss", "No parameter receives a gradient: the loss is cut off from the model.", 0, "> 0"
    )


def parameter_without_gradient(seen: Gradients) -> Finding | None:
    """Every parameter that requires a gradient receives one, from one of several batches."""
    if not seen.connected or not seen.missing:
        return None
    count = len(seen.missing)
    names = listed(seen.missing)
    message = f"{count} parameter{'s' * (count > 1)} took no part in the loss of the first batches: {names}."
    return finding("parameter-without-gradient", message, count, "0")


def nonfinite_gradient(seen: Gradients) -> Finding | None:
    """Every gradient is finite."""
    if not seen.not_finite:
        return None
    count = len(seen.not_finite)
    message = (
        f"At initialisation the gradient of {count} parameter{'s' * (count > 1)} holds NaN or infinity: "
    )
    return finding("nonfinite-gradient", message + f"{listed(seen.not_finite)}.", count, "0")


def listed(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are.

    >>> listed(["a", "b", "c", "d", "e", "f"])
    'a, b, c, d and 2 more'
    """
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")
