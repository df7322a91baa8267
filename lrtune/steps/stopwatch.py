"""Time that a computation itself took, whatever else the machine is busy with."""

from __future__ import annotations

import time

# Of the wall-clock time: one that has the processor for less was not merely sharing it, but waited for a disk, a
# network or a timer. Eight busy programs on two cores leave each of them a quarter.
_WAITED = 0.1


class Stopwatch:
    """Runs from the moment it is made.

    Wall-clock time counts other programs' turns on the processor as well, processor time every one of several threads:
    the smaller of both is nearer to what the computation takes on an idle machine. One that waits takes its time on an
    idle machine too, and there wall-clock time counts.
    """

    def __init__(self) -> None:
        self._wall, self._processor = time.perf_counter(), time.process_time()

    def seconds(self) -> float:
        """Return the time since then."""
        wall, processor = time.perf_counter() - self._wall, time.process_time() - self._processor
        return wall if processor < _WAITED * wall else min(wall, processor)
