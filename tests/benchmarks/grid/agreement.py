"""Whether peers have trained the same thing: their validation losses, member by member."""

from __future__ import annotations

import math
import statistics
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.grid.workload import Workload

TOLERANCE = 1e-3  # relative, of a member's loss: well above float32's rounding after a stable training
SEEDS = (1, 2, 3)
DEVIATIONS = 3.0  # of the seed's noise, that the best loss may be off


def largest_difference(losses: Sequence[float], reference: Sequence[float]) -> float:
    """Return the largest relative difference of a member's loss; infinite where one has no finite loss."""
    if len(losses) != len(reference):
        return math.inf
    pairs = zip(losses, reference, strict=True)
    differences = [abs(loss - other) / max(abs(other), 1e-12) for loss, other in pairs]
    return max(differences) if all(map(math.isfinite, differences)) else math.inf


def agreement(losses: Sequence[float], reference: Sequence[float], workload: Workload) -> str:
    """Say in a few words how a peer's losses agree with the reference's; it begins with DIFFERS where they do not.

    Rounding grows into another trajectory where training is unstable (high rates, many epochs). Then the best
    member's loss has to lie within what another seed changes.
    """
    difference = largest_difference(losses, reference)
    if difference <= TOLERANCE:
        return f"all within {difference:.0e}" if difference else "all equal"
    if not math.isfinite(difference):
        return "DIFFERS: a member has no finite loss"
    off = abs(min(losses) - min(reference))
    noise = seed_noise(workload, reference)
    within = sum(
        largest_difference([loss], [other]) <= TOLERANCE
        for loss, other in zip(losses, reference, strict=True)
    )
    said = f"{within} of {len(losses)} within {TOLERANCE:g}, best off by {off:.2g}, seed noise {noise:.2g}"
    return said if off <= DEVIATIONS * noise else f"DIFFERS: {said}"


def seed_noise(workload: Workload, reference: Sequence[float]) -> float:
    """Return the standard deviation over seeds of the loss of the reference's best member."""
    from benchmarks.grid.peers.plain_loop import train_member

    rate, decay = workload.members[min(range(len(reference)), key=reference.__getitem__)]
    task = workload.task()
    return statistics.stdev(train_member(replace(workload, seed=seed), task, rate, decay) for seed in SEEDS)
