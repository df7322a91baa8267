"""One model measured on one split."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count
from lrtune.population.forward import measured_metrics, run_batch
from lrtune.population.modes import in_mode
from lrtune.population.protocol import Evaluation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.data.batches import Batches
    from lrtune.population.forward import Outcome
    from lrtune.task import Task

_JOINED_BYTES = 512 * 2**20


def evaluate_model(
    task: Task, model: torch.nn.Module, batches: Batches, training_mode: bool = False
) -> tuple[float, dict[str, float]]:
    """Return the mean loss over a split's examples, and the metrics.

    The task's metrics see the whole split at once (an R² or an F1 is no mean over batches). Where the outputs are
    no tensors, or would take more than 512 MiB, they are means over batches weighted by size; so are the
    further scalars that a `step` returns. One that a step returns for some batches only is their mean.

    Args:
        task: Brings loss and metrics.
        model: Put back afterwards into the mode it was in, with the buffers it had.
        batches: The split.
        training_mode: Whether dropout and batch statistics are those of training.
    """
    measured = Measured(task, batches)
    with in_mode(model, training_mode), torch.no_grad():
        for batch in batches.in_order():
            measured.add(batch, run_batch(task, model, batch))
        return measured.result()


class Measured:
    """One member's outcomes on the batches of a split, and what follows from all of them.

    Args:
        task: Brings the metrics.
        batches: The split, which is counted before anybody goes through it.
    """

    def __init__(self, task: Task, batches: Batches) -> None:
        self._task = task
        self._count = batches.counted() if task.metrics else 0
        self._weights: list[int] = []
        self._rows: list[dict[str, torch.Tensor]] = []
        self._pairs: list[tuple[Any, Any]] = []
        self._joined: bool | None = None

    def add(self, batch: Any, outcome: Outcome) -> None:
        """Take in what a member made of the next batch."""
        if self._joined is None:
            self._joined = bool(self._task.metrics) and _can_join(outcome.output, outcome.target, self._count)
        if self._joined:
            self._pairs.append((outcome.output, outcome.target))
            measured = {}
        else:
            measured = measured_metrics(self._task, outcome.output, outcome.target)
        self._weights.append(example_count(batch))
        self._rows.append({"loss": outcome.scalar.detach().clone(), **outcome.metrics, **measured})

    def result(self) -> tuple[float, dict[str, float]]:
        """Return the mean loss over the examples, and the metrics."""
        whole = _whole_metrics(self._task, self._pairs, self._weights) if self._pairs else {}
        means = _means(self._rows, self._weights)
        loss = means.pop("loss")
        return loss, means | whole


def gathered(rows: Sequence[tuple[float, dict[str, float]]]) -> Evaluation:
    """Return the members' losses and metrics as one evaluation, NaN where a member lacks a metric."""
    names = dict.fromkeys(name for _, metrics in rows for name in metrics)
    metrics = {name: [metrics.get(name, math.nan) for _, metrics in rows] for name in names}
    return Evaluation(
        torch.tensor([loss for loss, _ in rows], dtype=torch.float64),
        {name: torch.tensor(values, dtype=torch.float64) for name, values in metrics.items()},
    )


def _whole_metrics(task: Task, pairs: list[tuple[Any, Any]], weights: list[int]) -> dict[str, float]:
    """Return the metrics of all batches as one; means where their shapes differ, as those of padded sequences do."""
    shapes = {(output.shape[1:], target.shape[1:]) for output, target in pairs}
    if len(shapes) == 1:
        joined = map(torch.cat, zip(*pairs, strict=True))
        return {name: float(value) for name, value in measured_metrics(task, *joined).items()}
    return _means([measured_metrics(task, *pair) for pair in pairs], weights)


def _can_join(output: Any, target: Any, batch_count: int) -> bool:
    tensors = (output, target)
    if not all(isinstance(tensor, torch.Tensor) and tensor.ndim for tensor in tensors):
        return False
    return byte_count(tensors) * batch_count <= _JOINED_BYTES


def _means(rows: list[dict[str, torch.Tensor]], weights: list[int]) -> dict[str, float]:
    """Return each name's weighted mean over the batches that have it."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: float(weighted_mean(rows, weights, name)) for name in names}


def weighted_mean(rows: list[dict[str, torch.Tensor]], weights: list[int], name: str) -> torch.Tensor:
    """Return the mean over the batches that have a value under a name, float64 on the CPU.

    Args:
        rows: The batches' values by name, each of any one shape.
        weights: Of the batches.
        name: Which values.
    """
    having = [(row[name], weight) for row, weight in zip(rows, weights, strict=True) if name in row]
    values = _read([value for value, _ in having])
    weight = torch.tensor([weight for _, weight in having], dtype=torch.float64)
    return (values * weight.view(-1, *[1] * (values.ndim - 1))).sum(0) / weight.sum()


def _read(values: list[torch.Tensor]) -> torch.Tensor:
    """Return tensors as float64 on the CPU: there since MPS knows no float64, at once since each read waits."""
    if len({(value.device, value.dtype) for value in values}) > 1:
        values = [value.cpu().double() for value in values]
    return torch.stack(values).cpu().double()
