from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from programs import generator, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.checkpoint import checkpoint

import lrtune
from lrtune.checks.gradients import gradient_stopped
from lrtune.probes.parameters.gradient_flow import GradientFlow, awake_gradient_flow, first_gradient_flow
from lrtune.probes.sample import Sample

INPUTS = torch.randn(8, 4, generator=generator(0))
LABELS = torch.arange(8) % 3


def sample_of(model: Any, loss: Any = F.cross_entropy, target: Tensor = LABELS, **fields: Any) -> Sample:
    """One batch and a model."""
    batches = fields.pop("train", [(INPUTS, target)])
    task = lrtune.Task(model=model, train=batches, loss=loss, **fields)
    return Sample(program_of(task), None, batches, 0)  # type: ignore[arg-type]


def flow_of(*args: Any, **fields: Any) -> GradientFlow:
    """What is measured."""
    seen = awake_gradient_flow(sample_of(*args, **fields))
    assert seen is not None
    return seen


def test_known_gradients() -> None:
    """The norms of a linear model under squared error are those of the formula, by layer, in the order of use."""

    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 1, bias=False), nn.Linear(4, 4, bias=False)
            nn.init.eye_(self.first.weight)
            nn.init.ones_(self.last.weight)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.last(self.first(inputs))

    target = torch.zeros(8, 1)
    seen = flow_of(Backwards, F.mse_loss, target)
    assert [layer.name for layer in seen.layers] == ["first.weight", "last.weight"]
    difference = INPUTS.sum(1, keepdim=True)
    gradient = 2 * (difference * INPUTS).mean(0)  # of the last layer; each row of the first has it as well
    assert [layer.weight for layer in seen.layers] == pytest.approx([2.0, 2.0])
    assert seen.layers[1].gradient == pytest.approx(float(gradient.norm()), rel=1e-5)
    assert seen.layers[0].gradient == pytest.approx(2 * float(gradient.norm()), rel=1e-5)
    assert seen.output == pytest.approx(float((2 * difference / 8).norm()), rel=1e-5)


def test_homogeneous_layers_have_equal_effects() -> None:
    """Without biases the product of gradient and weight is the same for all layers of a linear chain of one unit."""
    chain = lambda: nn.Sequential(*(nn.Linear(1, 1, bias=False) for _ in range(5)))  # noqa: E731
    batches = [(INPUTS[:, :1], INPUTS[:, 1:2])]
    effects = [layer.effect for layer in flow_of(chain, F.mse_loss, train=batches).layers]
    assert effects == pytest.approx([effects[0]] * 5, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "target", "scale"),
    [
        pytest.param(F.cross_entropy, LABELS, math.log(3), id="classes"),
        pytest.param(F.mse_loss, 1e3 * torch.ones(8, 3), 1e6, id="thousands"),
        pytest.param(F.mse_loss, 1e-3 * torch.ones(8, 3), 1.0, id="thousandths"),
        pytest.param(lambda o, t: 1e6 * F.cross_entropy(o, t), LABELS, 1.0, id="scaled"),
    ],
)
def test_loss_scale(loss: Any, target: Tensor, scale: float) -> None:
    """The scale is that of a model that knows nothing, so that targets in dollars do not look like an explosion."""
    seen = flow_of(lambda: nn.Linear(4, 3), loss, target)
    if scale == 1.0:
        assert 1.0 <= seen.loss_scale < 30
    else:
        assert seen.loss_scale == pytest.approx(scale, rel=1e-3)


def test_unknown_losses_of_far_targets() -> None:
    """A squared loss of one's own on targets of 100,000 has their square as its scale, roughly."""
    seen = flow_of(lambda: nn.Linear(4, 3), lambda o, t: (o - t).pow(2).mean() + 1, 1e5 * torch.ones(8, 3))
    assert 1e9 < seen.loss_scale < 1e11


def test_zero_heads_hide_nothing() -> None:
    """Behind a head of zeros the awakened model's gradient is seen, where the model's own reaches the head alone."""

    def model() -> nn.Module:
        net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
        nn.init.zeros_(net[2].weight)
        return net

    sample = sample_of(model)
    awake, own = awake_gradient_flow(sample), first_gradient_flow(sample)
    assert awake is not None and own is not None  # noqa: PT018
    assert [len(awake.layers), len(own.layers)] == [2, 1]


class Checkpointed(nn.Module):
    """Recomputes its layer in the backward pass, the reentrant way."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return checkpoint(self.second, self.first(inputs), use_reentrant=True)


class Functional(nn.Module):
    """Calls no module of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(nn.Parameter(torch.randn(4, 4)) for _ in range(3))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the last."""
        for weight in self.weights:
            inputs = F.relu(inputs @ weight)
        return inputs


@pytest.mark.parametrize(
    ("model", "count"),
    [
        pytest.param(Checkpointed, 2, id="checkpoint"),
        pytest.param(Functional, 3, id="functional"),
        pytest.param(lambda: nn.Sequential(nn.Linear(4, 3).bfloat16()), 1, id="half"),
    ],
)
def test_unusual_models(model: Any, count: int) -> None:
    """Reentrant checkpoints, functional models and half precision are measured."""
    dtype = next(model().parameters()).dtype
    batches = [(INPUTS.to(dtype), LABELS)]
    assert len(flow_of(model, train=batches).layers) == count


def test_a_step_that_returns_a_loss() -> None:
    """Where a step hands out no output the largest gradient of a bias stands in for that of the output."""
    step = lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"])  # noqa: E731
    seen = flow_of(lambda: nn.Linear(4, 3), None, train=[{"x": INPUTS, "y": LABELS}], step=step)
    assert seen.output is not None
    assert seen.output > 0


@pytest.mark.parametrize(
    "loss",
    [lambda o, t: o.sum() * 0 + 1, lambda o, t: o.sum() * torch.inf, lambda o, t: o.detach().sum()],
    ids=["zero", "infinite", "detached"],
)
def test_nothing_to_measure(loss: Any) -> None:
    """Gradients of zero, of infinity and none at all are for other checks to name."""
    assert awake_gradient_flow(sample_of(lambda: nn.Linear(4, 3), loss)) is None


def test_everything_is_as_found() -> None:
    """Parameters, gradients, buffers, modes and random state stay as they were."""
    sample = sample_of(
        lambda: nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 3))
    )
    model = sample.awake.eval()
    model[0].weight.grad = torch.ones(8, 4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    state = torch.get_rng_state()
    assert awake_gradient_flow(sample) == awake_gradient_flow(sample)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any(module.training for module in model.modules())
    assert torch.equal(model[0].weight.grad, torch.ones(8, 4))
    assert model[3].weight.grad is None


class Stored(nn.Module):
    """Rounds its code, with or without letting the gradient pass."""

    def __init__(self, straight: bool) -> None:
        super().__init__()
        self.straight = straight
        self.code, self.head = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        code = self.code(inputs)
        rounded = (4 * code).round() / 4
        return self.head(code + (rounded - code).detach() if self.straight else rounded)


@pytest.mark.parametrize("straight", [False, True])
def test_a_rounding_stops_the_gradient(straight: bool) -> None:
    """Parameters whose gradient is exactly 0 behind a rounding are named; a straight-through estimate is none."""
    found = gradient_stopped(flow_of(lambda: Stored(straight)))
    assert (found is None) == straight
    if found is not None:
        assert found.code == "vanishing-gradient"
        assert "torch.round" in found.message
        assert "code.weight" in found.message
        assert "head" not in found.message
