"""What examining a program leaves behind: nothing."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import blob_task, context_of, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.steps.check_init import check_init

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def scripted() -> nn.Module:
    """A model in whose middle TorchScript takes over, which refuses hooks."""
    middle: nn.Module = torch.jit.script(nn.Sequential(nn.Linear(16, 16), nn.ReLU()))
    return nn.Sequential(nn.Linear(4, 16), middle, nn.Linear(16, 3))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_modules_leave_no_hooks() -> None:
    """They are passed over, and every model that was built is free of hooks afterwards."""
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built.append(scripted())
        return built[-1]

    result = check_init(context_of(blob_task(model=build)))
    assert result.findings == []
    plain = [m for model in built for m in model.modules() if not isinstance(m, torch.jit.ScriptModule)]
    assert [m for m in plain if any(getattr(m, name) for name in HOOKS)] == []
    skipped = {one["name"]: one["skipped"] for one in result.details["examined"] if one["skipped"]}
    assert set(skipped.values()) <= {"nothing to measure"}, skipped


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_gradients_of_scripted_models_are_measured() -> None:
    """A model may be TorchScript as a whole."""
    result = check_init(context_of(blob_task(model=lambda: torch.jit.script(mlp()))))
    skipped = {one["name"]: one["skipped"] for one in result.details["examined"]}
    assert skipped["gradient flow"] is None
    assert skipped["gradient size"] is None


def test_gradients_outside_of_the_model_are_as_before() -> None:
    """A loss with parameters and a teacher that a step uses belong to the user, who goes on with them."""
    teacher, scale = mlp(), nn.Parameter(torch.ones(()))
    scale.grad = torch.full((), 5.0)

    def step(model: nn.Module, batch: Any) -> Tensor:
        inputs, labels = batch
        output = model(inputs)
        return F.cross_entropy(output * scale, labels) + F.mse_loss(output, teacher(inputs))

    check_init(context_of(blob_task(loss=None, step=step, metrics={})))
    assert scale.item() == 1.0
    assert scale.grad is not None
    assert scale.grad.item() == 5.0
    assert [name for name, one in teacher.named_parameters() if one.grad is not None] == []
