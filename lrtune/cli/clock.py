"""How long a person has waited since the command was given: steps tell their own time, which leaves out imports."""

from __future__ import annotations

import time

_started = time.perf_counter()
_loaded: float | None = None


def start() -> None:
    """Begin to count."""
    global _started, _loaded
    _started, _loaded = time.perf_counter(), None


def work_begins() -> None:
    """Say that settings and task are loaded: what follows is work, that of steps before the one asked for too."""
    global _loaded
    _loaded = waited()


def waited() -> float:
    """Return the seconds since `start`."""
    return time.perf_counter() - _started


def loading() -> float | None:
    """Return how many of them went by before the work began; None where it has not begun."""
    return _loaded
