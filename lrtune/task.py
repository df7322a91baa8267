"""What the user hands over: model, data and loss."""

from __future__ import annotations

import math
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sized
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.errors import TaskError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    Loss = Callable[[Any, Any], torch.Tensor]
    StepFunction = Callable[[torch.nn.Module, Any], "torch.Tensor | Mapping[str, torch.Tensor]"]
    OptimizerFunction = Callable[[torch.nn.Module, float, float], torch.optim.Optimizer]


@dataclass(frozen=True, eq=False)
class Task:
    """A model, its data and its loss: all that lrtune needs of a program.

    Attributes:
        model: Builds a fresh, newly initialised `nn.Module` at each call; called under a seed.
        train: A `Dataset` (batched by lrtune), a `DataLoader` (used as it is) or any re-iterable of batches.
        val: The same for validation, or None.
        loss: `(output, target) -> scalar Tensor`, the mean over the batch, for batches `(input, target)`.
        step: `(model, batch) -> Tensor | {"loss": Tensor, ...}` instead of `loss`, for any other kind of batch;
            of a returned dict, `output` and `target` serve checks and further scalar entries are metrics.
        metrics: `{name: (output, target) -> scalar Tensor}`, measured on the validation set.
        optimizer: `(model, learning_rate, weight_decay) -> Optimizer`, for parameter groups of one's own.
        expected_initial_loss: What the loss at initialisation should be, when the user knows better.
        pretrained: Whether the model starts from trained weights.

    Raises:
        TaskError: Naming every field that holds something unusable, and what was found there.
    """

    model: Callable[[], torch.nn.Module]
    train: Any
    val: Any = None
    loss: Loss | None = None
    step: StepFunction | None = None
    metrics: Mapping[str, Loss] = field(default_factory=dict)
    optimizer: OptimizerFunction | None = None
    expected_initial_loss: float | None = None
    pretrained: bool = False
    name: str = field(default="task", init=False, repr=False)
    sources: tuple[Path, ...] = field(default=(), init=False, repr=False)
    token: str = field(default_factory=lambda: uuid.uuid4().hex, init=False, repr=False)
    # The type of device on which the engine runs forward passes and losses under autocast to bfloat16, if it does.
    autocast: str | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        faults = [
            *_model_faults(self.model),
            *_data_faults("train", self.train),
            *(_data_faults("val", self.val) if self.val is not None else ()),
            *_loss_faults(self.loss, self.step),
            *_metric_faults(self.metrics),
            *_other_faults(self),
        ]
        if len(faults) == 1:
            raise TaskError(faults[0])
        if faults:
            raise TaskError(f"{len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults))


def _model_faults(model: Any) -> Iterator[str]:
    if _is_module(model):
        yield (
            f"Task.model: expected a function that builds the model, got the model itself "
            f"({type(model).__name__}); write model=lambda: {type(model).__name__}(...)"
        )
    elif not callable(model):
        yield f"Task.model: expected a function that builds the model, got {described(model)}"


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")  # whoever holds a module has imported torch
    return torch is not None and isinstance(value, torch.nn.Module)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _data_faults(name: str, data: Any) -> Iterator[str]:
    wanted = "a Dataset, a DataLoader or a re-iterable of batches"
    if data is None:
        yield f"Task.{name}: expected {wanted}, got None"
    elif _is_tensor(data) or (isinstance(data, tuple) and len(data) == 2 and all(map(_is_tensor, data))):
        yield f"Task.{name}: expected {wanted}, got bare tensors; wrap them: TensorDataset(inputs, targets)"
    elif isinstance(data, str | bytes | Mapping):
        yield f"Task.{name}: expected {wanted}, got {described(data)}"
    elif isinstance(data, Iterator):
        yield (
            f"Task.{name}: expected {wanted}, got an iterator ({type(data).__name__}) that can be read only once; "
            "hand over the object it comes from, or a list"
        )
    elif not (hasattr(data, "__iter__") or hasattr(data, "__getitem__")):
        yield f"Task.{name}: expected {wanted}, got {described(data)}"
    elif isinstance(data, Sized) and _length(data) == 0:
        yield f"Task.{name}: is empty ({type(data).__name__} of length 0)"


def _length(data: Sized) -> int | None:
    try:
        return len(data)
    except (TypeError, NotImplementedError):  # a DataLoader over a stream has __len__ and no length
        return None


def _loss_faults(loss: Any, step: Any) -> Iterator[str]:
    if loss is None and step is None:
        yield "Task.loss, Task.step: one of the two is needed, got neither"
    elif loss is not None and step is not None:
        yield "Task.loss, Task.step: give exactly one of the two, got both"
    elif loss is not None and not callable(loss):
        yield f"Task.loss: expected a function (output, target) -> scalar Tensor, got {described(loss)}"
    elif step is not None and not callable(step):
        yield f"Task.step: expected a function (model, batch) -> Tensor or dict, got {described(step)}"


def _metric_faults(metrics: Any) -> Iterator[str]:
    if not isinstance(metrics, Mapping):
        yield f"Task.metrics: expected {{name: function}}, got {described(metrics)}"
        return
    for name, metric in metrics.items():
        if not isinstance(name, str) or not callable(metric):
            wanted = "a function (output, target) -> scalar Tensor"
            yield f"Task.metrics[{name!r}]: expected {wanted}, got {described(metric)}"
        elif name in RESERVED_COLUMNS:
            yield f"Task.metrics[{name!r}]: the name is taken by a column of the curves; choose another"


# Names that no metric may have: the columns of the curves, and what a step's dict means by them.
RESERVED_COLUMNS = frozenset({"epoch", "step", "loss", "train_loss", "val_loss", "output", "target"})


def _other_faults(task: Task) -> Iterator[str]:
    if task.optimizer is not None and not callable(task.optimizer):
        yield (
            f"Task.optimizer: expected a function (model, learning_rate, weight_decay) -> Optimizer, "
            f"got {described(task.optimizer)}"
        )
    expected = task.expected_initial_loss
    if expected is not None and not (
        isinstance(expected, int | float) and not isinstance(expected, bool) and math.isfinite(expected)
    ):
        yield f"Task.expected_initial_loss: expected a finite number, got {described(expected)}"
    if not isinstance(task.pretrained, bool):
        yield f"Task.pretrained: expected True or False, got {described(task.pretrained)}"


def described(value: Any) -> str:
    """Return the type and a short repr of a value, for messages."""
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
