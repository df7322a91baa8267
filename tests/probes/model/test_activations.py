from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.model.activations import Activation, activations
from lrtune.probes.model.flat_parts import flat_part
from lrtune.probes.sample import Sample

INPUTS = torch.randn(64, 4, generator=generator(0))


def seen_in(model: Any, inputs: Tensor = INPUTS) -> list[Activation]:
    """What is seen in one batch."""
    batches = [(inputs, torch.zeros(len(inputs)))]
    task = lrtune.Task(model=model, train=batches, loss=lambda o, t: o.relu().mean())
    seen = activations(Sample(program_of(task), None, batches, 0))  # type: ignore[arg-type]
    return [] if seen is None else seen.seen


class Calls(nn.Module):
    """Calls a function between two layers, of which the first has two of five units switched off."""

    def __init__(self, function: Any, off: float = -100.0) -> None:
        super().__init__()
        self.first, self.last, self.function = nn.Linear(4, 5), nn.Linear(5, 2), function
        with torch.no_grad():
            self.first.bias[:2] = off

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.last(self.function(self.first(inputs)))


RELUS = {
    "F.relu": F.relu,
    "torch.relu": torch.relu,
    "in place": lambda x: x.relu_(),
    "clamp": lambda x: x.clamp(min=0),
    "clamp of two": lambda x: x.clamp(0, 60),
    "clamp_min": lambda x: x.clamp_min(0),
    "threshold": lambda x: F.threshold(x, 0, 0),
    "relu6": F.relu6,
    "relu6 in place": nn.ReLU6(inplace=True),
    "module": nn.ReLU(),
    "gelu": F.gelu,
    "silu": F.silu,
    "elu": F.elu,
    "hardswish": F.hardswish,
}


@pytest.mark.parametrize("function", RELUS.values(), ids=RELUS)
def test_dead_units(function: Any) -> None:
    """Two of five units are off, whatever the way in which the function is called; the loss's own is left out."""
    (one,) = seen_in(lambda: Calls(function))
    assert (one.kind, one.units, one.stuck) == ("dead", 5, 0.4)


SQUASHES = {
    "tanh": torch.tanh,
    "in place": lambda x: x.sigmoid_(),
    "module": nn.Sigmoid(),
    "hardtanh": F.hardtanh,
    "hardsigmoid": F.hardsigmoid,
    "softsign": nn.Softsign(),
}


@pytest.mark.parametrize("function", SQUASHES.values(), ids=SQUASHES)
def test_saturated_values(function: Any) -> None:
    """Two of five units are on the lower flat part."""
    (one,) = seen_in(lambda: Calls(function), INPUTS / 100)
    assert (one.kind, one.stuck, one.flat, one.low) == ("saturated", 0.4, 0.4, 0.4)


@pytest.mark.parametrize(
    "function",
    [F.leaky_relu, nn.PReLU(), lambda x: x.clamp(min=1), F.softmax, lambda x: F.threshold(x, 0, 1)],
    ids=["leaky", "prelu", "clamp at 1", "softmax", "threshold"],
)
@pytest.mark.filterwarnings("ignore:Implicit dimension choice for softmax")
def test_what_cannot_die(function: Any) -> None:
    """Functions without a flat part at zero are not counted."""
    assert seen_in(lambda: Calls(function)) == []


def test_places() -> None:
    """A module is named by itself, a function by the module that calls it; calls are told apart."""

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act, self.layer = nn.ReLU(), nn.Linear(4, 4)

        def forward(self, inputs: Tensor) -> Tensor:
            return torch.tanh(self.act(self.layer(inputs.tanh())))

    places = [one.place for one in seen_in(lambda: nn.Sequential(Block(), nn.Linear(4, 2)))]
    assert places == ["tanh in 0 (Block)", "0.act (ReLU)", "tanh in 0 (Block)"]


def test_the_output_is_marked() -> None:
    """The activation whose result the model returns is known, also through a view of it."""
    model = lambda: nn.Sequential(nn.Linear(4, 3), nn.Sigmoid(), nn.Linear(3, 1), nn.Sigmoid(), nn.Flatten(0))  # noqa: E731
    assert [one.output for one in seen_in(model)] == [False, True]


def test_channels_are_units() -> None:
    """In images a unit is a channel: it is dead when off at every place, not when off at a border."""

    def model() -> nn.Module:
        net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU())
        with torch.no_grad():
            net[0].bias.copy_(torch.tensor([-90.0, 1.0, 1.0, -90.0]))
        return net

    images = torch.zeros(8, 1, 6, 6)
    images[:, :, 2:4, 2:4] = 1
    (one,) = seen_in(model, images)
    assert (one.units, one.stuck) == (4, 0.5)


def test_masked_positions_are_not_dead() -> None:
    """An argument of exactly zero is padding, not a dead unit."""

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 32)

        def forward(self, inputs: Tensor) -> Tensor:
            keep = torch.arange(20)[None, :, None] < 2
            return F.relu(self.layer(inputs[:, None].expand(-1, 20, -1)) * keep)

    assert seen_in(Masked)[0].stuck < 0.1


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_gates_of_recurrent_layers(kind: Any) -> None:
    """The gates of unrolled layers are seen on the CPU."""

    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = kind(4, 6, batch_first=True)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.layer(inputs)[0][:, -1]

    enabled = torch.backends.mkldnn.enabled
    places = {one.place for one in seen_in(Recurrent, INPUTS.reshape(8, 8, 4))}
    assert f"tanh in layer ({kind.__name__})" in places
    assert torch.backends.mkldnn.enabled == enabled


def test_flat_parts_are_where_the_slope_is_small() -> None:
    """Beyond the bounds the slope is below 2% of its maximum, and just before them it is not."""
    values = torch.linspace(-12, 12, 4001, dtype=torch.float64, requires_grad=True)
    for name, function in {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "softsign": F.softsign}.items():
        (slope,) = torch.autograd.grad(function(values).sum(), values)
        flat = flat_part(name, values.detach())
        assert flat is not None
        small = slope < 0.02 * slope.max()
        assert int((small != flat.where).sum()) <= 4
    for name, gated in {"gelu": F.gelu, "silu": F.silu, "elu": F.elu}.items():
        (slope,) = torch.autograd.grad(gated(values).sum(), values)
        flat = flat_part(name, values.detach())
        assert flat is not None
        assert slope[flat.where].abs().max() < 0.021


def test_everything_is_as_found() -> None:
    """Parameters, buffers, modes, hooks and random state stay as they were."""
    batches = [(INPUTS, torch.zeros(64))]
    model = lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout())  # noqa: E731
    task = lrtune.Task(model=model, train=batches, loss=lambda o, t: o.mean())
    sample = Sample(program_of(task), None, batches, 0)  # type: ignore[arg-type]
    shared = sample.awake.eval()
    before = {key: value.clone() for key, value in shared.state_dict().items()}
    state = torch.get_rng_state()
    assert activations(sample) == activations(sample)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in shared.state_dict().items())
    assert not any(module.training or module._forward_hooks for module in shared.modules())
    assert all(parameter.grad is None for parameter in shared.parameters())
