from __future__ import annotations

import pytest
import torch
from programs import CPU, accuracy, blob_task, program_of
from torch import nn

from lrtune.errors import UserCodeError
from lrtune.population.placement import placed

META = torch.device("meta")


def test_a_loss_with_weights_moves_as_a_copy() -> None:
    """On an accelerator a loss's weights are there; the caller's own loss, and the task's identity, stay."""
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    task = blob_task(loss=loss)
    moved = placed(task, META)
    assert moved.loss is not loss
    assert moved.loss.weight.device == META
    assert task.loss is loss
    assert loss.weight.device == CPU
    assert moved.token == task.token


def test_nothing_to_move() -> None:
    """On the CPU, and where loss and metrics hold no tensors, the task is the caller's own."""
    with_weights = blob_task(loss=nn.CrossEntropyLoss(weight=torch.ones(3)))
    assert placed(with_weights, CPU) is with_weights
    assert program_of(with_weights).task is with_weights
    without = blob_task(loss=nn.CrossEntropyLoss(), metrics={"accuracy": accuracy})
    assert placed(without, META) is without


def test_metrics_move_too() -> None:
    """A metric that is a module with tensors is copied to the device as a loss is."""
    metric = nn.BCEWithLogitsLoss(pos_weight=torch.ones(1))
    moved = placed(blob_task(metrics={"bce": metric, "accuracy": accuracy}), META)
    assert moved.metrics["bce"].pos_weight.device == META
    assert moved.metrics["accuracy"] is accuracy
    assert metric.pos_weight.device == CPU


class Uncopyable(nn.Module):
    """Holds a tensor and refuses to be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(1))

    def __deepcopy__(self, memo: object) -> Uncopyable:
        raise RuntimeError("no copies")


def test_a_loss_that_cannot_be_moved() -> None:
    """What copying or moving raises names the field."""
    with pytest.raises(UserCodeError, match=r"while moving Task\.loss to meta: no copies"):
        placed(blob_task(loss=Uncopyable()), META)
