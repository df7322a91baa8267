from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import context_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.learning.drawn import is_drawn, is_drawn_in_training

if TYPE_CHECKING:
    from collections.abc import Callable


class Blurred(nn.Module):
    """Noise in training alone."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the layer makes of blurred inputs."""
        return self.layer(inputs + torch.randn_like(inputs) if self.training else inputs)


class Functional(Blurred):
    """Dropout as a function."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the layer makes of a part of the inputs."""
        return self.layer(F.dropout(inputs, 0.5, self.training))


CASES: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "noise": (Blurred, True),
    "none": (lambda: nn.Linear(4, 4), False),
    "dropout": (lambda: nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 4)), False),
    "functional dropout": (Functional, False),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "drawn"), CASES.values(), ids=CASES)
def test_draws_in_training(make: Any, drawn: bool, seed: int) -> None:
    """Noise of a model's own is drawn in training, dropout is not meant; evaluation mode draws nothing here."""
    task = lrtune.Task(
        model=make, train=[torch.ones(8, 4)], step=lambda model, batch: (model(batch) - batch).square().mean()
    )
    program, batch = context_of(task).program, torch.ones(8, 4)
    assert is_drawn_in_training(program, batch, seed) == drawn
    assert not is_drawn(program, make(), batch, seed)
