"""Time that a computation itself took, whatever else the machine is busy with."""

from __future__ import annotations

import time


class Stopwatch:
    """Runs from the moment it is made.

    Wall-clock time counts other programs' turns on the processor as well, processor time every one of several threads:
    the smaller of both is nearer to what the computation takes on an idle machine.
    """

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Return the time since then."""
        return min(time.perf_counter() - self._wall, time.process_time() - self._processor)
