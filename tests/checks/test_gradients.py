from __future__ import annotations

import itertools

import pytest

from lrtune.checks.gradients import vanishing_gradient
from lrtune.probes.parameters.gradient_flow import GradientFlow, Layer


def flow(rises: list[float], last: float = 1.0) -> GradientFlow:
    """Layers whose gradient rises by these factors towards the output; the effect on the loss fades half as fast."""
    sizes = list(itertools.accumulate(reversed(rises), lambda size, rise: size / rise, initial=last))[::-1]
    layers = [Layer(f"layer{i}.weight", max(size**-0.3, 1.0), size) for i, size in enumerate(sizes)]
    return GradientFlow(layers, output=1.0, examples=32, loss_scale=1.0)


@pytest.mark.parametrize(
    ("rises", "steps"),
    [
        ([8.0, 8.0, 8.0, 8.0], 4),
        ([4.0, 4.0, 4.0, 4.0], None),  # torch's default under softplus
        ([5.0, 5.0, 5.0, 1.0, 5.0, 5.0, 5.0], 6),  # an autoencoder's code between
        ([3.0, 3.5, 3.0, 1.0, 8.5, 6.0, 14.0], 6),
        ([4.2, 4.2, 4.2, 1.0, 4.2, 4.2, 4.2], None),
        ([5.0, 5.0, 1.0, 5.0, 5.0, 5.0], None),  # five steps are too few where one pauses
        ([5.0, 5.0, 1.0, 5.0, 5.0, 1.0, 5.0, 5.0], None),  # two pauses
        ([5.0, 5.0, 5.0, 0.2, 5.0, 5.0, 5.0], None),  # a fall is no pause
        ([1.0] * 8, None),
    ],
)
def test_a_gradient_that_falls_at_each_layer(rises: list[float], steps: int | None) -> None:
    """One factor a layer over four layers, or over six about one that does not fade."""
    found = vanishing_gradient(flow(rises))
    assert (found is not None) == (steps is not None)
    if found is not None:
        assert found.code == "vanishing-gradient"
        assert f"at each of {steps} layers" in found.message
