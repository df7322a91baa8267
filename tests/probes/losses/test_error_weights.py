from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import generator
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.checks.loss import errors_summed
from lrtune.population.forward import Outcome
from lrtune.probes.losses.error_weights import ErrorWeights, weights_of_errors


def read(loss: Any, seed: int, count: int = 33) -> ErrorWeights | None:
    """The weights of a loss of errors of deviation 1.4."""
    draw = generator(seed)
    output = torch.randn(count, 1, generator=draw).requires_grad_()
    target = torch.randn(count, generator=draw)
    return weights_of_errors(Outcome(loss(output.squeeze(1), target), output, target))


SUMS: dict[str, tuple[Any, str]] = {
    "squares": (lambda o, t: F.mse_loss(o, t, reduction="sum"), "squared"),
    "halved squares": (lambda o, t: 0.5 * ((o - t) ** 2).sum(), "squared"),
    "absolute": (lambda o, t: (o - t).abs().sum(), "absolute"),
    "huber": (lambda o, t: F.huber_loss(o, t, reduction="sum"), "Huber"),
    "huber of another width": (lambda o, t: F.huber_loss(o, t, reduction="sum", delta=0.5), "Huber"),
    "smooth": (lambda o, t: F.smooth_l1_loss(o, t, reduction="sum"), "Huber"),
    "by hand": (lambda o, t: sum((a - b) ** 2 for a, b in zip(o, t, strict=True)), "squared"),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("loss", "kind"), SUMS.values(), ids=SUMS)
def test_sums_and_their_means(loss: Any, kind: str, seed: int) -> None:
    """A sum counts each error whole, its mean counts it by its share."""
    seen, mean = read(loss, seed), read(lambda o, t: loss(o, t) / len(t), seed)
    assert seen is not None
    assert mean is not None
    assert (seen.kind, seen.counted) == (kind, 33)
    assert seen.each == pytest.approx(33 * mean.each, rel=1e-4)
    assert errors_summed(seen) is not None
    assert errors_summed(mean) is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "loss",
    [
        lambda o, t: (o - t).pow(4).sum(),
        lambda o, t: ((o - t).square().sum() + 1).log(),
        lambda o, t: (o - t).cosh().log().sum(),
        lambda o, t: torch.maximum(0.9 * (t - o), 0.1 * (o - t)).sum(),
        lambda o, t: (t.abs() * (o - t).square()).sum(),
        lambda o, t: (o - t).square().mean() + 0.1 * o.abs().mean(),
        lambda o, t: -(o * t).sum(),
    ],
    ids=["fourth power", "logarithm", "log cosh", "pinball", "weighted", "penalty", "product"],
)
def test_other_losses_are_not_claimed(loss: Any, seed: int) -> None:
    """Nothing is said of errors that are not all weighted alike; one number for all is a sum or a mean."""
    seen = read(loss, seed)
    assert seen is None or errors_summed(seen) is None


@pytest.mark.parametrize("factor", [0.1, 3.0, 10.0, 25.0])
def test_weighted_means_are_silent(factor: float) -> None:
    """A mean may be multiplied."""
    seen = read(lambda o, t: factor * F.mse_loss(o, t), 0)
    assert seen is not None
    assert seen.each == pytest.approx(factor / 33, rel=1e-4)
    assert errors_summed(seen) is None


def test_a_mean_of_a_hundred_times_a_hundred() -> None:
    """A round factor is a choice."""
    seen = read(lambda o, t: 100 * F.mse_loss(o, t), 0, count=100)
    assert seen is not None
    assert errors_summed(seen) is None


def test_few_errors_fit_by_chance() -> None:
    """Seven are not read."""
    assert read(lambda o, t: F.mse_loss(o, t, reduction="sum"), 0, count=7) is None
