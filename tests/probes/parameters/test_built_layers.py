from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from programs import blob_task, codes, context_of
from torch import Tensor, nn

from lrtune.probes.parameters.unregistered import unregistered
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

if TYPE_CHECKING:
    from collections.abc import Callable


class Block(nn.Module):
    """Two layers, as a part of a model."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return hidden features."""
        return self.layers(hidden)


class Net(nn.Module):
    """Something done between a first and a last layer.

    Args:
        between: Maps the model and hidden features to hidden features.
    """

    def __init__(self, between: Callable[[Net, Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.head, self.between = nn.Linear(4, 8), nn.Linear(8, 3), between
        self.kept: nn.Module | None = None

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.between(self, self.first(inputs).tanh()))


def plain(net: Net, hidden: Tensor) -> Tensor:
    """A layer where it is used."""
    return nn.Linear(8, 8)(hidden)


def block(net: Net, hidden: Tensor) -> Tensor:
    """A whole block where it is used."""
    return Block()(hidden)


def convolution(net: Net, hidden: Tensor) -> Tensor:
    """A convolution over the features."""
    return nn.Conv1d(1, 1, 3, padding=1)(hidden.unsqueeze(1)).squeeze(1)


def recurrent(net: Net, hidden: Tensor) -> Tensor:
    """A recurrent layer over the features."""
    return nn.GRU(1, 1, batch_first=True)(hidden.unsqueeze(2))[0].squeeze(2)


def nothing(net: Net, hidden: Tensor) -> Tensor:
    """The features as they are."""
    return hidden


def activation(net: Net, hidden: Tensor) -> Tensor:
    """Modules without weights, or with constant ones."""
    return nn.LayerNorm(8)(nn.PReLU()(nn.ReLU()(hidden)))


def projected(net: Net, hidden: Tensor) -> Tensor:
    """A random projection that nothing is meant to train."""
    return nn.Linear(8, 8).requires_grad_(False)(hidden)


def zero_state(net: Net, hidden: Tensor) -> Tensor:
    """A state of zeros in a module of its own."""
    holder = nn.Module()
    holder.state = nn.Parameter(torch.zeros(len(hidden), 8))
    return hidden + holder.state


def judged(net: Net, hidden: Tensor) -> Tensor:
    """A network in evaluation mode, which judges."""
    return Block().eval()(hidden)


def parametrised(net: Net, hidden: Tensor) -> Tensor:
    """Weights computed from others by torch's own means."""
    if net.kept is None:
        nn.utils.parametrizations.weight_norm(net.head)
        net.kept = nn.Identity()
    return hidden


@pytest.mark.parametrize("between", [plain, block, convolution, recurrent])
@pytest.mark.parametrize("seed", range(2))
def test_layers_built_in_forward(between: Callable[[Net, Tensor], Tensor], seed: int) -> None:
    """They are told with the line that builds them, once."""
    result = check_init(context_of(blob_task(model=lambda: Net(between)), seed=seed))
    assert codes(result).count("unregistered-parameter") == 1
    found = next(one for one in result.findings if one.code == "unregistered-parameter")
    assert f"test_built_layers.py:{between.__code__.co_firstlineno + 2}" in found.message


@pytest.mark.parametrize("between", [nothing, activation, projected, zero_state, judged, parametrised])
def test_what_is_no_layer_built_anew(between: Callable[[Net, Tensor], Tensor]) -> None:
    """Constants, frozen layers and judges may be built under way."""
    context = context_of(blob_task(model=lambda: Net(between)))
    seen = unregistered(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    assert seen is not None
    assert seen.anew == []


def test_a_layer_built_at_first_use() -> None:
    """It stays with the model, and is another case."""

    def lazy(net: Net, hidden: Tensor) -> Tensor:
        if net.kept is None:
            net.kept = nn.Linear(8, 8)
        return net.kept(hidden)

    context = context_of(blob_task(model=lambda: Net(lazy)))
    seen = unregistered(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    assert seen is not None
    assert seen.anew == []
