"""The plain loop with its data as tensors in memory, cut into batches by index: the fastest that stays simple."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarks.grid.peers.plain_loop import validate
from benchmarks.grid.workload import loss_of
from torch.utils.data import TensorDataset, default_collate

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.grid.workload import Workload

    import lrtune


def run(workload: Workload) -> list[float]:
    """Train every member, one after the other; return their validation losses."""
    task = workload.task()
    train, val = tensors_of(task.train), tensors_of(task.val)
    return [_train(workload, task, rate, decay, train, val) for rate, decay in workload.members]


def _train(workload: Workload, task: lrtune.Task, rate: float, decay: float, train: Any, val: Any) -> float:
    torch.manual_seed(workload.seed)
    model = task.model()
    optimizer = workload.build_optimizer(model, rate, decay)
    examples = torch.arange(len(task.val))
    draw = torch.Generator()
    val_loss = float("nan")
    for epoch in range(workload.epochs):
        draw.manual_seed(workload.order_seed(epoch))
        model.train()
        running = 0.0
        for batch in _cut(train, torch.randperm(len(task.train), generator=draw), workload.batch_size):
            optimizer.zero_grad()
            loss = loss_of(task, model, batch)
            loss.backward()
            optimizer.step()
            running += loss.item()
        val_loss = validate(task, model, _cut(val, examples, workload.batch_size))
    return val_loss


def tensors_of(dataset: Any) -> Any:
    """Return the whole of a dataset as one batch."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors
    return default_collate([dataset[index] for index in range(len(dataset))])


def _cut(tensors: Any, order: torch.Tensor, batch_size: int) -> Iterator[Any]:
    for chosen in order.split(batch_size):
        if isinstance(tensors, dict):
            yield {key: tensor[chosen] for key, tensor in tensors.items()}
        else:
            yield tuple(tensor[chosen] for tensor in tensors)
