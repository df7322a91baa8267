"""A causal transformer of two layers on characters; its batches are dicts from a `Dataset` written in Python."""

from __future__ import annotations

from benchmarks.grid.workload import EXAMPLES, Workload

import lrtune


def make_task() -> lrtune.Task:
    """Return the example's task; the accuracy that its `step` returns is computed by every peer."""
    return lrtune.load_task(f"{EXAMPLES}/char_transformer.py:make_task")


WORKLOAD = Workload(
    name="char_transformer",
    task=make_task,
    optimizer={"name": "adamw"},
    batch_size=64,
    epochs=3,
    rates=(3e-4, 1e-3, 3e-3, 6e-3),
    decays=(0.0, 0.01, 0.1),
)
