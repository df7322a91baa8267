"""How long a person has waited since the command was given: steps tell their own time, which leaves out imports."""

from __future__ import annotations

import time

_started = time.perf_counter()


def start() -> None:
    """Begin to count."""
    global _started
    _started = time.perf_counter()


def waited() -> float:
    """Return the seconds since `start`."""
    return time.perf_counter() - _started
