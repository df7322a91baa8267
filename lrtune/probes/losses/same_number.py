"""Whether two numbers are the same one, computed in two ways."""

from __future__ import annotations

RELATIVE = 1e-3  # difference up to which two float32 losses that were computed in two ways are the same
_LEAST = 1e-6  # a number below it is as good as zero


def same(one: float, other: float, within: float = RELATIVE) -> bool:
    """Say whether two numbers differ by no more than a share of the larger one.

    >>> same(2.3, 2.301), same(2.3, 2.301, within=1e-5)
    (True, False)
    """
    return abs(one - other) <= within * max(abs(one), abs(other), _LEAST)
