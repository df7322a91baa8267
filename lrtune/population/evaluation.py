"""One model measured on one split."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count
from lrtune.population.program import measured_metrics, run_batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.data.batches import Batches
    from lrtune.task import Task

_JOINED_BYTES = 512 * 2**20


def evaluate_model(
    task: Task, model: torch.nn.Module, batches: Batches, training_mode: bool = False
) -> tuple[float, dict[str, float]]:
    """Return the mean loss over a split's examples, and the metrics.

    The task's metrics see the whole split at once (an R² or an F1 is no mean over batches). Where the outputs are
    no tensors, or would take more than 512 MiB, they are means over batches weighted by size; so are the
    further scalars that a `step` returns.

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
    with in_mode(model, training_mode), torch.no_grad():
        for batch in batches.in_order():
            outcome = run_batch(task, model, batch)
            if joined is None:
                joined = _can_join(outcome.output, outcome.target, batches.counted())
            if joined:
                pairs.append((outcome.output, outcome.target))
                measured = {}
            else:
                measured = measured_metrics(task, outcome.output, outcome.target)
            weights.append(example_count(batch))
            rows.append({"loss": outcome.scalar.detach().double(), **outcome.metrics, **measured})
        whole = _whole_metrics(task, pairs, weights) if pairs and task.metrics else {}
    means = {name: _mean([row[name] for row in rows], weights) for name in rows[0]}
    loss = means.pop("loss")
    return loss, means | whole


def _whole_metrics(task: Task, pairs: list[tuple[Any, Any]], weights: list[int]) -> dict[str, float]:
    """Return the metrics of all batches as one; means where their shapes differ, as those of padded sequences do."""
    shapes = {(output.shape[1:], target.shape[1:]) for output, target in pairs}
    if len(shapes) == 1:
        joined = map(torch.cat, zip(*pairs, strict=True))
        return {name: float(value) for name, value in measured_metrics(task, *joined).items()}
    rows = [measured_metrics(task, *pair) for pair in pairs]
    return {name: _mean([row[name] for row in rows], weights) for name in rows[0]}


@contextmanager
def in_mode(model: torch.nn.Module, training: bool) -> Iterator[None]:
    """Put a model into training or evaluation mode for a block; modes and buffers are as before afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    # Forward passes move running statistics and counters, in place or by putting another tensor there.
    buffers = [
        (module, name, buffer, buffer.detach().clone())
        for module in model.modules()
        for name, buffer in module.named_buffers(recurse=False)
    ]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
        with torch.no_grad():
            for module, name, buffer, value in buffers:
                buffer.copy_(value)
                setattr(module, name, buffer)


def _can_join(output: Any, target: Any, batch_count: int) -> bool:
    tensors = (output, target)
    if not all(isinstance(tensor, torch.Tensor) and tensor.ndim for tensor in tensors):
        return False
    return byte_count(tensors) * batch_count <= _JOINED_BYTES


def _mean(values: list[torch.Tensor], weights: list[int]) -> float:
    weight = torch.tensor(weights, dtype=torch.float64)
    return float((torch.stack(values).cpu() * weight).sum() / weight.sum())
