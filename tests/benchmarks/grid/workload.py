"""What a benchmark of a grid's cost is made of: a task with the settings that every peer trains it with."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset, RandomSampler, TensorDataset

from lrtune.random_state import mixed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import lrtune

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
FOLDER = Path(__file__).resolve().parent / "workloads"


class NotSameWorkError(Exception):
    """A peer trained other members than it was asked to, or not to their end; its time compares with nobody's."""


@dataclass(frozen=True)
class Workload:
    """A grid to train.

    The rates are such that no member diverges (a tool that stops one early does less work) and that the best lies
    inside (lrtune extends its grid at an edge).

    Attributes:
        name: Of the workload, and of its file.
        task: Builds model, data and loss; the task has no metrics, so that an evaluation is the loss alone.
        optimizer: As in lrtune's configuration: a class of `torch.optim` by name and further keywords.
        batch_size: Of training and validation; the last, incomplete batch is kept.
        epochs: Of each member; each is followed by an evaluation on the validation set.
        rates: Learning rates of the grid.
        decays: Weight decays of the grid.
        seed: Of every member's initialisation and data order.
    """

    name: str
    task: Callable[[], lrtune.Task]
    optimizer: Mapping[str, Any]
    batch_size: int
    epochs: int
    rates: tuple[float, ...]
    decays: tuple[float, ...]
    seed: int = 0

    @property
    def members(self) -> list[tuple[float, float]]:
        """The cells of the grid, (learning rate, weight decay), in the order of every result."""
        return [(rate, decay) for rate in self.rates for decay in self.decays]

    def build_optimizer(
        self, model: torch.nn.Module, lr: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimizer of one member."""
        keywords = {key: value for key, value in self.optimizer.items() if key != "name"}
        classes = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
        return classes[self.optimizer["name"]](
            model.parameters(), lr=lr, weight_decay=weight_decay, **keywords
        )

    def order_seed(self, epoch: int) -> int:
        """Return what `torch.randperm`'s generator is seeded with for an epoch: lrtune's own rule.

        With one order everywhere the losses of all peers can be compared member by member.
        """
        return mixed(self.seed, epoch)

    def with_members(self, count: int) -> Workload:
        """Return the same training with so many members, which cost alike.

        They share the workload's second rate and differ in decays so small that none is better than another by
        enough for lrtune to extend its grid.
        """
        return replace(self, rates=self.rates[1:2], decays=tuple(1e-9 * (1 + at) for at in range(count)))

    def with_examples(self, count: int) -> Workload:
        """Return the same training on so many examples: the first ones, the whole set repeated where it is too small.

        Raises:
            TypeError: If the training data are no `TensorDataset`.
        """
        return replace(self, task=lambda: _resized(self.task(), count))


def _resized(task: lrtune.Task, count: int) -> lrtune.Task:
    if not isinstance(task.train, TensorDataset):
        raise TypeError(f"only a TensorDataset can be resized, got {type(task.train).__name__}")
    chosen = torch.arange(count) % len(task.train)
    return replace(task, train=TensorDataset(*(tensor[chosen] for tensor in task.train.tensors)))


def epochs_of(workload: Workload, data: Dataset[Any]) -> Iterator[DataLoader[Any]]:
    """Yield for each epoch a `DataLoader` as `shuffle=True` makes one, but for the order's seed."""
    draw = torch.Generator()
    loader: DataLoader[Any] = DataLoader(
        data, workload.batch_size, sampler=RandomSampler(data, generator=draw)
    )
    for epoch in range(workload.epochs):
        draw.manual_seed(workload.order_seed(epoch))
        yield loader


def loss_of(task: lrtune.Task, model: torch.nn.Module, batch: Any) -> torch.Tensor:
    """Return the loss of a batch, whichever way the task says it."""
    if task.step is not None:
        scored = task.step(model, batch)
        return scored if isinstance(scored, torch.Tensor) else scored["loss"]
    inputs, targets = batch
    return task.loss(model(inputs), targets)


def load_workload(name: str) -> Workload:
    """Import `workloads/<name>.py`."""
    return importlib.import_module(f"benchmarks.grid.workloads.{name}").WORKLOAD


def workload_names() -> list[str]:
    """Return the names of all workloads."""
    return sorted(file.stem for file in FOLDER.glob("*.py"))
