"""One model measured on one split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count
from lrtune.population.forward import measured_metrics, run_batch
from lrtune.population.modes import in_mode

if TYPE_CHECKING:
    from lrtune.data.batches import Batches
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
    weights: list[int] = []
    rows: list[dict[str, torch.Tensor]] = []
    pairs: list[tuple[Any, Any]] = []
    joined: bool | None = None
    # Counting may read the split, which must not happen in the middle of a pass over it.
    count = batches.counted() if task.metrics else 0
    with in_mode(model, training_mode), torch.no_grad():
        for batch in batches.in_order():
            outcome = run_batch(task, model, batch)
            if joined is None:
                joined = bool(task.metrics) and _can_join(outcome.output, outcome.target, count)
            if joined:
                pairs.append((outcome.output, outcome.target))
                measured = {}
            else:
                measured = measured_metrics(task, outcome.output, outcome.target)
            weights.append(example_count(batch))
            rows.append({"loss": outcome.scalar.detach().clone(), **outcome.metrics, **measured})
        whole = _whole_metrics(task, pairs, weights) if pairs else {}
    means = _means(rows, weights)
    loss = means.pop("loss")
    return loss, means | whole


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
    means = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        having = [(row[name], weight) for row, weight in zip(rows, weights, strict=True) if name in row]
        weight = torch.tensor([weight for _, weight in having], dtype=torch.float64)
        means[name] = float((_read([value for value, _ in having]) * weight).sum() / weight.sum())
    return means


def _read(values: list[torch.Tensor]) -> torch.Tensor:
    """Return scalars as float64 on the CPU: there since MPS knows no float64, at once since each read waits."""
    if len({(value.device, value.dtype) for value in values}) > 1:
        values = [value.cpu().double() for value in values]
    return torch.stack(values).cpu().double()
