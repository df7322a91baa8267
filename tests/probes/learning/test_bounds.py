from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import CPU, Constant, blob_task, blobs, mlp, program_of
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.probes.learning.bounds import output_bounds
from lrtune.probes.learning.limits import limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.probes.learning.bounds import Bounds


class Last(nn.Module):
    """A sound net with one thing after its last layer."""

    def __init__(self, last: Callable[[Tensor], Tensor], net: nn.Module | None = None) -> None:
        super().__init__()
        self.net, self.last = net or mlp(4, 3, 32), last

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the last function makes of the logits."""
        return self.last(self.net(inputs))


class Cosine(nn.Module):
    """Cosines times a scale, fixed or learned."""

    def __init__(self, scale: float, learned: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 16))
        self.classes = nn.Parameter(torch.randn(3, 16))
        self.scale: Any = nn.Parameter(torch.tensor(scale)) if learned else scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return cosine logits."""
        return self.scale * F.normalize(self.net(inputs)) @ F.normalize(self.classes).T


def bounds_of(model: Callable[[], nn.Module], seed: int = 0, times: float = 1.0) -> Bounds | None:
    """The bounds on 96 examples of an untrained model's outputs, whose parameters are multiplied first."""
    program = program_of(blob_task(model=model), name="sgd")
    torch.manual_seed(seed)
    inputs, target = blobs().tensors
    state = {name: times * value for name, value in program.build_model().state_dict().items()}
    return output_bounds(program, state, [(inputs, target)], seed)


FREE: dict[str, Callable[[], nn.Module]] = {
    "logits": mlp,
    "log-softmax": lambda: Last(lambda logits: logits.log_softmax(1)),
    "divided": lambda: Last(lambda logits: logits / 1000),
    "learned temperature": lambda: Cosine(1.0, learned=True),
    "weight norm": lambda: Last(nn.Identity(), nn.utils.parametrizations.weight_norm(nn.Linear(4, 3))),
    "tanh inside": lambda: nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3)),
    "layer norm inside": lambda: nn.Sequential(nn.Linear(4, 32), nn.LayerNorm(32), nn.Linear(32, 3)),
    "batch norm last": lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)),
    "dropout": lambda: nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3)),
    "thirty layers": lambda: nn.Sequential(*(nn.Linear(4, 4) for _ in range(30))),
    "a constant": lambda: Constant(1.0, 0.0, -1.0),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("model", FREE.values(), ids=FREE)
def test_free_outputs_have_no_bounds(model: Callable[[], nn.Module], seed: int) -> None:
    """Outputs that grow with the parameters are not bounded, whatever stands inside or is normalised."""
    assert bounds_of(model, seed) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("last", "low", "high", "by"),
    [
        pytest.param(torch.tanh, -1.0, 1.0, "tanh", id="tanh"),
        pytest.param(torch.sigmoid, 0.0, 1.0, "sigmoid", id="sigmoid"),
        pytest.param(lambda z: z.clamp(-1, 1), -1.0, 1.0, "clamp", id="clamp"),
        pytest.param(F.softsign, -1.0, 1.0, None, id="softsign"),
        pytest.param(lambda z: 30 * torch.tanh(z / 30), -30.0, 30.0, None, id="soft cap"),
        pytest.param(F.relu, 0.0, math.inf, "ReLU", id="ReLU"),
        pytest.param(lambda z: -F.relu(z), -math.inf, 0.0, None, id="negative ReLU"),
        pytest.param(lambda z: torch.tanh(z).unsqueeze(2).squeeze(2), -1.0, 1.0, "tanh", id="reshaped"),
    ],
)
def test_bounds_of_the_last_function(
    last: Callable[[Tensor], Tensor], low: float, high: float, by: str | None, seed: int
) -> None:
    """Where the parameters grow the outputs come to the range that the last function has."""
    found = bounds_of(lambda: Last(last), seed, times=10)  # as large as training makes them
    assert found is not None
    assert (found.settled, found.by) == (True, by)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.01 * min(high - low, 100))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [1.0, 16.0])
def test_cosines_are_bounded_as_far_as_is_known(scale: float, seed: int) -> None:
    """Cosines do not move with the parameters: their range is symmetric, within the scale, and not settled."""
    found = bounds_of(lambda: Cosine(scale), seed)
    assert found is not None
    assert not found.settled
    assert 0.2 * scale < found.high <= scale * 1.0001
    assert found.low == -found.high


def test_the_state_is_left_alone() -> None:
    """Neither the member's parameters nor the batches nor the random state change."""
    program = program_of(blob_task(), name="sgd")
    model, (inputs, target) = program.build_model(), blobs().tensors
    state = model.state_dict()
    before = {name: value.clone() for name, value in state.items()}
    kept, random = inputs.clone(), torch.get_rng_state()
    limits(program, state, [(inputs, target)], 0)
    assert all(torch.equal(before[name], value) for name, value in state.items())
    assert torch.equal(inputs, kept)
    assert torch.equal(random, torch.get_rng_state())
    assert all(parameter.grad is None and parameter.device == CPU for parameter in model.parameters())


def test_a_model_that_refuses() -> None:
    """A model that raises on parameters far out is left unjudged."""

    class Careful(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            if self.weight.abs().max() > 1:
                raise ValueError("weights out of bounds")
            return super().forward(inputs).tanh()

    assert bounds_of(lambda: Careful(4, 3)) is None


def test_outputs_that_are_no_numbers() -> None:
    """An output of another type than a tensor of numbers has no bounds."""

    class Pair(nn.Linear):
        def forward(self, inputs: Tensor) -> Any:
            return super().forward(inputs), inputs

    program = program_of(
        blob_task(model=lambda: Pair(4, 3), loss=lambda o, t: F.cross_entropy(o[0], t)), name="sgd"
    )
    assert output_bounds(program, program.build_model().state_dict(), [tuple(blobs().tensors)], 0) is None
