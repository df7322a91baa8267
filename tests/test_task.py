from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lrtune import Task, TaskError

DATA = TensorDataset(torch.zeros(4, 2), torch.zeros(4, 1))
WANTED = "expected a Dataset, a DataLoader or a re-iterable of batches, got"


def build() -> nn.Module:
    """Build a model."""
    return nn.Linear(2, 1)


def step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return a loss."""
    return model(batch).mean()


class Stream(IterableDataset[torch.Tensor]):
    """Data without a length."""

    def __iter__(self) -> Any:
        return iter([torch.zeros(2)])


GOOD: dict[str, Any] = {"model": build, "train": DATA, "loss": nn.functional.mse_loss}


def message_of(**fields: Any) -> str:
    """Return what `Task` says when these fields replace good ones."""
    with pytest.raises(TaskError) as caught:
        Task(**{**GOOD, **fields})
    return str(caught.value)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="dataset and loss"),
        pytest.param({"loss": None, "step": step}, id="step"),
        pytest.param({"val": DATA}, id="validation"),
        pytest.param({"train": DataLoader(DATA)}, id="loader"),
        pytest.param({"train": [(torch.zeros(1, 2), torch.zeros(1, 1))]}, id="list of batches"),
        pytest.param({"train": DataLoader(Stream())}, id="loader over a stream, with no length"),
        pytest.param({"train": Stream()}, id="stream"),
        pytest.param({"model": lambda: build()}, id="lambda"),
        pytest.param({"model": nn.Identity}, id="class"),
        pytest.param({"loss": nn.MSELoss()}, id="loss module"),
        pytest.param({"metrics": {"mae": nn.functional.l1_loss}}, id="metric"),
        pytest.param({"expected_initial_loss": 2}, id="expected loss"),
        pytest.param({"pretrained": True}, id="pretrained"),
    ],
)
def test_what_is_a_task(fields: dict[str, Any]) -> None:
    """Every documented form of a field is taken without a word."""
    Task(**{**GOOD, **fields})


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        pytest.param(
            {"loss": None},
            "Task.loss, Task.step: one of the two is needed, got neither",
            id="neither loss nor step",
        ),
        pytest.param(
            {"step": step},
            "Task.loss, Task.step: give exactly one of the two, got both",
            id="both loss and step",
        ),
        pytest.param(
            {"loss": "mse"}, "Task.loss: expected a function (output, target) -> scalar", id="loss by name"
        ),
        pytest.param(
            {"loss": None, "step": 3},
            "Task.step: expected a function (model, batch) -> Tensor",
            id="step no function",
        ),
        pytest.param(
            {"model": nn.Linear(2, 1)},
            "Task.model: expected a function that builds the model, got the model itself (Linear); "
            "write model=lambda: Linear(...)",
            id="the model itself",
        ),
        pytest.param(
            {"model": None}, "Task.model: expected a function that builds the model, got None", id="no model"
        ),
        pytest.param(
            {"model": "resnet"},
            "Task.model: expected a function that builds the model, got str 'resnet'",
            id="name",
        ),
        pytest.param({"train": None}, f"Task.train: {WANTED} None", id="no data"),
        pytest.param(
            {"train": (batch for batch in [1])},
            f"Task.train: {WANTED} an iterator (generator) that can be read only once; hand over the object",
            id="generator",
        ),
        pytest.param(
            {"train": iter([1])}, f"Task.train: {WANTED} an iterator (list_iterator)", id="iterator"
        ),
        pytest.param(
            {"train": torch.zeros(3)},
            f"Task.train: {WANTED} bare tensors; wrap them: TensorDataset(inputs, targets)",
            id="tensor",
        ),
        pytest.param(
            {"train": (torch.zeros(3), torch.zeros(3))},
            f"Task.train: {WANTED} bare tensors",
            id="pair of tensors",
        ),
        pytest.param({"train": {"x": torch.zeros(3)}}, f"Task.train: {WANTED} dict", id="dict"),
        pytest.param({"train": "data.csv"}, f"Task.train: {WANTED} str 'data.csv'", id="path"),
        pytest.param({"train": 5}, f"Task.train: {WANTED} int 5", id="number"),
        pytest.param({"train": build}, f"Task.train: {WANTED} function", id="function"),
        pytest.param({"train": []}, "Task.train: is empty (list of length 0)", id="empty list"),
        pytest.param(
            {"train": TensorDataset(torch.zeros(0, 2))},
            "Task.train: is empty (TensorDataset of length 0)",
            id="empty dataset",
        ),
        pytest.param(
            {"val": TensorDataset(torch.zeros(0, 2))},
            "Task.val: is empty (TensorDataset of length 0)",
            id="empty validation",
        ),
        pytest.param({"val": torch.zeros(3)}, f"Task.val: {WANTED} bare tensors", id="validation tensor"),
        pytest.param(
            {"metrics": [len]}, "Task.metrics: expected {name: function}, got list", id="metrics list"
        ),
        pytest.param(
            {"metrics": None}, "Task.metrics: expected {name: function}, got NoneType", id="metrics None"
        ),
        pytest.param(
            {"metrics": {"acc": 1.0}},
            "Task.metrics['acc']: expected a function (output, target)",
            id="metric value",
        ),
        pytest.param(
            {"metrics": {3: len}}, "Task.metrics[3]: expected a function (output, target)", id="metric name"
        ),
        pytest.param(
            {"metrics": {"val_loss": len}},
            "Task.metrics['val_loss']: the name is taken by a column",
            id="column name",
        ),
        pytest.param(
            {"optimizer": "adam"},
            "Task.optimizer: expected a function (model, learning_rate, weight_",
            id="optimizer",
        ),
        pytest.param(
            {"expected_initial_loss": "2.3"},
            "Task.expected_initial_loss: expected a finite number, got str",
            id="text",
        ),
        pytest.param(
            {"expected_initial_loss": float("nan")},
            "Task.expected_initial_loss: expected a finite number",
            id="nan",
        ),
        pytest.param(
            {"pretrained": "yes"}, "Task.pretrained: expected True or False, got str 'yes'", id="flag"
        ),
    ],
)
def test_a_field_that_cannot_be_used(fields: dict[str, Any], said: str) -> None:
    """The error names the field, what it should hold and what was found there."""
    message = message_of(**fields)
    assert message.startswith(said)
    assert "\n" not in message


def test_all_faults_come_at_once() -> None:
    """Three wrong fields give three lines under their count."""
    lines = message_of(model=3, train=[], loss=None).splitlines()
    assert lines[0] == "3 faults:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [
        "Task.model",
        "Task.train",
        "Task.loss, Task.step",
    ]


def test_building_a_task_runs_none_of_the_users_code() -> None:
    """Neither the model's function nor the loss is called, and no batch is read."""

    class Untouched:
        def __len__(self) -> int:
            return 3

        def __getitem__(self, index: int) -> Any:
            raise AssertionError("read")

    def never(*_: Any) -> Any:
        raise AssertionError("called")

    Task(model=never, train=Untouched(), loss=never, metrics={"m": never}, optimizer=never)


def test_a_long_value_is_shown_shortened() -> None:
    """A message stays a line, whatever the value's repr."""
    assert len(message_of(expected_initial_loss="x" * 1000)) < 200


def test_a_task_cannot_be_changed() -> None:
    """Its fields are fixed once checked."""
    with pytest.raises(AttributeError):
        Task(**GOOD).pretrained = True  # type: ignore[misc]
