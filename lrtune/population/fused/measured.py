"""All members measured on one split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.population.evaluation import Measured, gathered, weighted_mean
from lrtune.population.fused.forward import outcomes_of, scalars_of
from lrtune.population.protocol import Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.task import Task


class MeasuredTogether:
    """What the members make of the batches of a split, and what follows from all of them.

    Metrics of the task see each member's outputs on the whole split; without any, only the scalars of each batch count,
    and the members' stay together.

    Args:
        task: Brings the metrics.
        batches: The split.
        members: How many.
    """

    def __init__(self, task: Task, batches: Batches, members: int) -> None:
        self._each = [Measured(task, batches) for _ in range(members)] if task.metrics else []
        self._rows: list[dict[str, torch.Tensor]] = []
        self._weights: list[int] = []

    def add(self, batch: Any, found: dict[str, Any]) -> None:
        """Take in what the members made of the next batch, as `FusedOutcomes` gives it."""
        if self._each:
            for one, outcome in zip(self._each, outcomes_of(found, len(self._each)), strict=True):
                one.add(batch, outcome)
            return
        self._rows.append(scalars_of(found))
        self._weights.append(example_count(batch))

    def result(self, stopped: Sequence[bool]) -> Evaluation:
        """Return losses and metrics, NaN for those that have stopped."""
        if self._each:
            return gathered(
                [
                    (math.nan, {}) if lost else one.result()
                    for one, lost in zip(self._each, stopped, strict=True)
                ]
            )
        lost = torch.tensor(stopped)
        means = {
            name: weighted_mean(self._rows, self._weights, name).masked_fill(lost, math.nan)
            for name in dict.fromkeys(name for row in self._rows for name in row)
        }
        return Evaluation(means.pop("loss"), means)
