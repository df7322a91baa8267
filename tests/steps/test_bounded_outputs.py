from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import blob_task, blobs, codes, context_of, linear_data, linear_task, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

from lrtune.steps.overfit import overfit

if TYPE_CHECKING:
    import lrtune


class Last(nn.Module):
    """A sound net with one thing after its last layer."""

    def __init__(self, last: Any, outputs: int) -> None:
        super().__init__()
        self.net, self.last = mlp(4, outputs, 64), last

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what the last function makes of the outputs."""
        return self.last(self.net(inputs))


class Cosine(nn.Module):
    """Cosines times a fixed or learned scale."""

    def __init__(self, scale: float, learned: bool = False) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 32))
        self.classes = nn.Parameter(torch.randn(3, 32))
        self.scale: Any = nn.Parameter(torch.tensor(scale)) if learned else scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return cosine logits."""
        return self.scale * F.normalize(self.net(inputs)) @ F.normalize(self.classes).T


def tried(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The second step's result, on minibatches of 8."""
    return overfit(context_of(task, **{"batch_size": 8, **keys}))


BOUNDED: dict[str, Any] = {
    "tanh": lambda: Last(torch.tanh, 3),
    "softsign": lambda: Last(F.softsign, 3),
    "clamp": lambda: Last(lambda logits: logits.clamp(-1, 1), 3),
    "cosine": lambda: Cosine(1.0),
    "unit rows": lambda: Last(F.normalize, 3),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("model", BOUNDED.values(), ids=BOUNDED)
def test_bounded_logits(model: Any, seed: int) -> None:
    """All answers may be right: a loss that bounds hold up is told, with the bounds."""
    result = tried(blob_task(model=model), seed=seed)
    assert codes(result) == ["cannot-overfit"]
    assert "The outputs stay within [-" in result.findings[0].message


HEALTHY: dict[str, Any] = {
    "logits": lambda: mlp(4, 3, 64),
    "cosine of 16": lambda: Cosine(16.0),
    "cosine of 64": lambda: Cosine(64.0),
    "learned temperature": lambda: Cosine(1.0, learned=True),
    "soft cap": lambda: Last(lambda logits: 30 * torch.tanh(logits / 30), 3),
    "softplus": lambda: Last(F.softplus, 3),
    "divided": lambda: Last(lambda logits: logits / 100, 3),
    "weight norm": lambda: Last(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), 3),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("model", HEALTHY.values(), ids=HEALTHY)
def test_free_logits(model: Any, seed: int) -> None:
    """Room enough for the targets is silent; so is a loss that only needs more steps."""
    assert codes(tried(blob_task(model=model), seed=seed)) == []


@pytest.mark.parametrize("last", [torch.tanh, torch.sigmoid, F.relu], ids=["tanh", "sigmoid", "ReLU"])
def test_regressions(last: Any) -> None:
    """Targets out of reach are told with both ranges; the same function is silent where it reaches them."""
    inputs, target = linear_data(64).tensors
    result = tried(linear_task(model=lambda: Last(last, 1), train=TensorDataset(inputs, target / 3)))
    assert "cannot-overfit" in codes(result)
    assert any("Targets reach from -2.4" in finding.message for finding in result.findings)
    within = TensorDataset(inputs, target.sigmoid())
    assert codes(tried(linear_task(model=lambda: Last(last, 1), train=within))) == []


def test_a_sigmoid_keeps_its_name() -> None:
    """What double-softmax names is not told a second time where all answers are right."""
    result = tried(blob_task(model=lambda: Last(torch.sigmoid, 2), train=blobs(80, 2), val=None))
    assert result.findings[0].code == "double-softmax"
    assert "The outputs stay" not in "".join(finding.message for finding in result.findings)
