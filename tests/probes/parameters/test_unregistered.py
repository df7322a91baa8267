from __future__ import annotations

import pytest
from programs import blob_task, context_of
from torch import Tensor, nn

from lrtune.probes.parameters.unregistered import unregistered
from lrtune.probes.sample import Sample


class Judged(nn.Module):
    """Logits that go through another network, hidden in a list so that it is neither trained nor saved."""

    def __init__(self, training: bool) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self._judge = [nn.Sequential(nn.Linear(3, 3)).train(training)]

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the other network makes of the logits."""
        judged: Tensor = self._judge[0](self.head(inputs))
        return judged


@pytest.mark.parametrize(
    ("training", "paths"), [(False, []), (True, ["_judge[0].0.weight", "_judge[0].0.bias"])]
)
def test_networks_in_evaluation_mode_are_hidden_on_purpose(training: bool, paths: list[str]) -> None:
    """A teacher or the features of a perceptual loss; in training mode it is a forgotten part."""
    context = context_of(blob_task(model=lambda: Judged(training)))
    seen = unregistered(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    assert seen is not None
    assert seen.paths == paths
    assert seen.elsewhere == []
