from __future__ import annotations

import pytest
import torch
from programs import context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.behaviour import train_eval_gap
from lrtune.probes.model import mode_gap as mode_gap_module
from lrtune.probes.model.determinism import _apart
from lrtune.probes.model.mode_gap import mode_gap
from lrtune.probes.sample import Sample

DATA = TensorDataset(torch.randn(64, 4, generator=generator(0)) + 1, torch.arange(64) % 3)


class Running(nn.Module):
    """A normalisation of the user's own, beside a large constant buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("mean", torch.zeros(4))
        self.register_buffer("table", torch.ones(100_000))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits of centred inputs."""
        if self.training:
            mean = inputs.mean(0)
            self.mean = 0.9 * self.mean + 0.1 * mean.detach()
        else:
            mean = self.mean
        return self.layer(inputs - mean)


def test_only_buffers_that_move_are_extrapolated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A running mean comes to rest where the modes agree; constants beside it are left alone."""
    limits = []

    def limit(*steps: Tensor) -> Tensor:
        limits.append(steps[0].numel())
        return original(*steps)

    original = mode_gap_module._limit
    monkeypatch.setattr(mode_gap_module, "_limit", limit)
    context = context_of(lrtune.Task(model=Running, train=DATA, loss=F.cross_entropy))
    seen = mode_gap(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    assert seen is not None
    assert seen.outputs == pytest.approx(0, abs=1e-3)
    assert limits == [4]


def test_numbers_that_are_not_finite_are_left_out() -> None:
    """Two calls are compared where both are finite, in units of the root mean square there."""
    one, other = torch.tensor([3.0, 4.0, torch.inf, 1.0]), torch.tensor([3.0, 4.5, torch.inf, torch.nan])
    assert _apart([one], [other]) == pytest.approx(0.5 / 5)
    assert _apart([one], [one]) == 0


class Shared(nn.Module):
    """Two layers, each normalised by a norm of its own or by one for both."""

    def __init__(self, shared: bool) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(4, 16), nn.Linear(16, 16), nn.Linear(16, 3)
        self.norms = nn.ModuleList(
            [nn.BatchNorm1d(16)] * 2 if shared else [nn.BatchNorm1d(16), nn.BatchNorm1d(16)]
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        hidden = torch.relu(self.norms[0](self.one(inputs)))
        return self.head(torch.relu(self.norms[1](self.two(hidden))))


def gap_of(task: lrtune.Task) -> str | None:
    """The finding's code."""
    context = context_of(task)
    seen = mode_gap(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))
    assert seen is not None
    found = train_eval_gap(seen)
    return None if found is None else found.code


@pytest.mark.parametrize("shared", [False, True])
def test_one_norm_for_two_layers(shared: bool) -> None:
    """Statistics that stand for two places fit neither; those of two runs of a whole model are left alone."""
    plain = lrtune.Task(model=lambda: Shared(shared), train=DATA, loss=F.cross_entropy)
    assert (gap_of(plain) == "train-eval-gap") == shared

    def both(model: nn.Module, batch: list[Tensor]) -> Tensor:
        return (model(batch[0]) - model(3 * batch[0] + 1)).square().mean() + model(batch[0]).square().mean()

    assert gap_of(lrtune.Task(model=lambda: Shared(shared), train=DATA, step=both)) is None
