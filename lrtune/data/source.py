"""From what the user hands over (`Task.train`, `Task.val`) to `Batches`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from lrtune.data.dataset import DatasetBatches
from lrtune.data.loaded import IterableBatches
from lrtune.data.resident import ResidentBatches, can_be_resident
from lrtune.errors import TaskError

if TYPE_CHECKING:
    import torch

    from lrtune.data.batches import Batches
    from lrtune.progress import Progress
    from lrtune.task import Task

_SUBSET_EXAMPLES = 1024  # of the training data, for curves: a standard error of 3% of the loss's spread


@dataclass(frozen=True)
class TaskData:
    """A task's data as batches.

    Attributes:
        train: What is trained on.
        val: What is validated on, or None.
        seed: Of the training order and of the fixed subset.
    """

    train: Batches
    val: Batches | None
    seed: int

    def training_subset(self) -> list[Any]:
        """Return the fixed sample of the training data on which training-loss curves are measured."""
        return self.train.subset(_SUBSET_EXAMPLES, self.seed)


def open_data(task: Task, batch_size: int, seed: int, device: torch.device, progress: Progress) -> TaskData:
    """Return the task's data, batched and on the device; nothing but a few probed examples is read yet.

    Raises:
        TaskError: If the data have no length or no batches.
        UserCodeError: If reading them raises.
    """
    train = as_batches(task.train, "train", batch_size, device, progress)
    val = None if task.val is None else as_batches(task.val, "val", batch_size, device, progress)
    return TaskData(train, val, seed)


def as_batches(data: Any, name: str, batch_size: int, device: torch.device, progress: Progress) -> Batches:
    """Return `data` as batches; `name` (`train`, `val`) is for the messages."""
    if isinstance(data, IterableDataset):
        return IterableBatches(DataLoader(data, batch_size), device, name)
    if not _is_map_style(data):
        return IterableBatches(data, device, name)
    if not hasattr(data, "__len__"):
        raise TaskError(
            f"Task.{name}: {type(data).__name__} has no __len__; add it, or hand over a DataLoader"
        )
    if can_be_resident(data, device):
        return ResidentBatches(data, batch_size, device, progress)
    return DatasetBatches(data, batch_size, device, name)


def _is_map_style(data: Any) -> bool:
    """A `Dataset`, or what quacks like one; lists and tuples are batches already."""
    if isinstance(data, Dataset):
        return True
    indexable = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    return indexable and not isinstance(data, list | tuple | DataLoader)
