"""The tiny one: a perceptron on scikit-learn's 8x8 digits, where a step's arithmetic is next to nothing."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.grid.workload import EXAMPLES, Workload

import lrtune


def make_task() -> lrtune.Task:
    """Return the example's task without its accuracy."""
    return replace(lrtune.load_task(f"{EXAMPLES}/digits_mlp.py:make_task"), metrics={})


WORKLOAD = Workload(
    name="digits_mlp",
    task=make_task,
    optimizer={"name": "sgd", "momentum": 0.9},
    batch_size=64,
    epochs=5,
    rates=(0.01, 0.03, 0.1, 0.2),
    decays=(0.0, 1e-5, 1e-4),
)
