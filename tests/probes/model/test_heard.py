from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lrtune.population.forward import Outcome
from lrtune.probes.model.heard import with_output

INPUTS = torch.ones(3, 2)


class Twin(nn.Module):
    """Returns two tensors."""

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return them."""
        return inputs, inputs


@pytest.mark.parametrize(
    ("model", "run", "known"),
    [
        (nn.Identity(), lambda model: Outcome(model(INPUTS).sum()), True),
        (nn.Identity(), lambda model: Outcome(model(INPUTS).sum() + model(INPUTS).sum()), False),
        (Twin(), lambda model: Outcome(model(INPUTS)[0].sum()), False),
        (nn.Identity(), lambda model: Outcome(INPUTS.sum()), False),
    ],
    ids=["one tensor", "two calls", "two tensors", "no call"],
)
def test_the_only_output(model: nn.Module, run: Any, known: bool) -> None:
    """The one tensor of the one call is the output; no hook stays behind."""
    outcome = with_output(model, lambda: run(model))
    assert (outcome.output is not None) == known
    assert not model._forward_hooks


def test_a_step_is_believed() -> None:
    """What it says is its output stays."""
    model, said = nn.Identity(), torch.zeros(1)
    outcome = with_output(model, lambda: Outcome(model(INPUTS).sum(), output=said))
    assert outcome.output is said
