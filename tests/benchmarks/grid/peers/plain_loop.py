"""What a practitioner writes: two loops over the grid, and within them PyTorch's own training loop.

A `DataLoader` without workers, as is usual for data in memory: starting processes for so short an epoch costs more
than they bring.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from benchmarks.grid.workload import epochs_of, loss_of
from torch.utils.data import DataLoader

from lrtune.data.nest import example_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.grid.workload import Workload

    import lrtune


def run(workload: Workload) -> list[float]:
    """Train every member, one after the other; return their validation losses."""
    task = workload.task()
    return [train_member(workload, task, rate, decay) for rate, decay in workload.members]


def train_member(
    workload: Workload,
    task: lrtune.Task,
    rate: float,
    decay: float,
    on_epoch: Callable[[float, int], object] = lambda loss, epoch: None,
) -> float:
    """Train one member; `on_epoch` is told each validation loss. The last one is returned."""
    torch.manual_seed(workload.seed)
    model = task.model()
    optimizer = workload.build_optimizer(model, rate, decay)
    val = DataLoader(task.val, workload.batch_size)
    val_loss = float("nan")
    for epoch, train in enumerate(epochs_of(workload, task.train)):
        model.train()
        running = 0.0
        for batch in train:
            optimizer.zero_grad()
            loss = loss_of(task, model, batch)
            loss.backward()
            optimizer.step()
            running += loss.item()
        val_loss = validate(task, model, val)
        on_epoch(val_loss, epoch)
    return val_loss


@torch.no_grad()
def validate(task: lrtune.Task, model: torch.nn.Module, batches: Any) -> float:
    """Return the mean loss over the examples of some batches."""
    model.eval()
    total = examples = 0.0
    for batch in batches:
        size = example_count(batch)
        total += loss_of(task, model, batch).item() * size
        examples += size
    return total / examples
