from __future__ import annotations

import torch
from programs import generator
from torch import nn

from lrtune.probes.model.settled import settling


def test_statistics_of_layers_that_are_called_by_name() -> None:
    """`layer(input=x)` counts like `layer(x)`; the statistics are the batch's, with the biased variance."""
    layer, inputs = nn.BatchNorm1d(3), torch.randn(8, 3, generator=generator(0))
    with settling(layer) as calls:
        layer(input=inputs)
    assert calls == {layer: 1}
    assert layer.running_var is not None
    torch.testing.assert_close(layer.running_var, inputs.var(0, correction=0))
