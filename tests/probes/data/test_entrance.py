from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import blob_task, context_of, mlp
from torch import nn

from lrtune.probes.data.entrance import entrance
from lrtune.probes.sample import Sample


def scripted() -> nn.Module:
    """A network of TorchScript, in which nothing can be watched."""
    inner: nn.Module = torch.jit.script(mlp(classes=8))
    return inner


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
@pytest.mark.parametrize(
    ("build", "layer"),
    [
        pytest.param(lambda: nn.Sequential(scripted(), nn.Linear(8, 3)), None, id="before the first layer"),
        pytest.param(lambda: nn.Sequential(nn.Linear(4, 4), scripted()), "0", id="behind it"),
        pytest.param(scripted, None, id="all of the model"),
    ],
)
def test_layers_that_cannot_be_watched(build: Any, layer: str | None) -> None:
    """What follows them is not taken for the first layer."""
    context = context_of(blob_task(model=build))
    batches = context.data.train.head(1, 0)
    assert entrance(Sample(context.program, context.data.train, batches, 0), batches[0]).layer == layer
