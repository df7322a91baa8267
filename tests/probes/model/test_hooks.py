from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrtune.probes.model.hooks import hooked


def hooks_of(model: nn.Module) -> int:
    """How many forward hooks a model's modules have."""
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in model.modules())


def test_every_module_is_heard() -> None:
    """By name, with what it was given by position and by name, and with its output."""
    model, heard = nn.Sequential(nn.Linear(2, 2)), []

    def pre(name: str, module: nn.Module, *given: Any) -> None:
        heard.append((name, module, *given))

    inputs = torch.ones(1, 2)
    with hooked(model, pre=pre, post=lambda name, *_: heard.append(name)):
        model(input=inputs)
    assert heard == [("", model, (), {"input": inputs}), ("0", model[0], (inputs,), {}), "0", ""]
    assert hooks_of(model) == 0


def test_registering_that_fails_leaves_nothing() -> None:
    """Modules may refuse hooks."""

    class Refusing(nn.Linear):
        def register_forward_pre_hook(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("no")

    model = nn.Sequential(nn.Linear(2, 2), Refusing(2, 2))
    with pytest.raises(RuntimeError, match="no"), hooked(model, pre=lambda *_: None):
        pass
    assert hooks_of(model) == 0


@pytest.mark.parametrize("inside", [False, True])
def test_compiled_models_run_as_written(inside: bool) -> None:
    """A compiler would trace the listeners, too, and complain of them."""
    compilations = []

    def backend(graph: Any, _: list[Tensor]) -> Any:
        compilations.append(graph)
        return graph.forward

    class Doubling(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return 2 * super().forward(inputs)

    model = Doubling(2, 2)
    compiled: Any = model
    if inside:
        model.compile(backend=backend)
    else:
        compiled = torch.compile(model, backend=backend)
    with hooked(compiled, pre=lambda *_: None):
        compiled(torch.ones(1, 2))
    assert not compilations
    compiled(torch.ones(1, 2))
    assert compilations
