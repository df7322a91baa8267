from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import (
    Constant,
    batches_of,
    blob_task,
    blobs,
    codes,
    context_of,
    linear_data,
    linear_task,
    mlp,
    quadratic_task,
)
from torch import nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

from lrtune.steps.find_lr import find_lr

if TYPE_CHECKING:
    import lrtune

# As one program a training rounds differently, and planning one trains a few steps that are not counted.
SERIAL: dict[str, Any] = {"population": {"execution": "serial"}}


def found(task: lrtune.Task, **keys: Any) -> lrtune.StepResult:
    """The third step's result."""
    return find_lr(context_of(task, **SERIAL, **keys))


def curvature(data: Any) -> float:
    """The largest eigenvalue of the Hessian of mean squared error: 2 XᵀX / n."""
    inputs = data.tensors[0]
    return float(torch.linalg.eigvalsh(2 * inputs.T @ inputs / len(inputs)).max())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_known_stability_bound(seed: int, scale: float) -> None:
    """Least squares without noise: the suggestion lies below 2/λmax and above a hundredth of it, and it descends.

    Full batches and plain gradient descent, so that the bound is exact; three scales of the inputs move it.
    """
    data = linear_data(64, seed=seed)
    data.tensors[0].mul_(scale)
    bound = 2 / curvature(data)
    task = linear_task(train=data)
    result = found(
        task, batch_size=64, optimizer={"name": "sgd"}, find_lr={"min": 1e-6, "max": 1e4, "weight_decay": 0.0}
    )
    summary = result.summary
    assert result.verdict != "fail"
    assert bound / 100 < summary["suggestion"] < bound
    assert summary["low"] <= summary["suggestion"] <= summary["high"]
    assert bound / 2 < summary["diverged_at"] < 20 * bound  # growth takes some steps to be seen
    first, last = descent(data, summary["suggestion"], seed)
    assert last < 0.5 * first
    assert last < descent(data, summary["suggestion"] / 10, seed)[1]


def descent(data: Any, rate: float, seed: int) -> tuple[float, float]:
    """The loss before and after 100 steps of plain gradient descent on all data."""
    torch.manual_seed(seed)
    model = nn.Linear(4, 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), rate)
    inputs, target = data.tensors
    first = F.mse_loss(model(inputs), target).item()
    for _ in range(100):
        optimizer.zero_grad()
        loss = F.mse_loss(model(inputs), target)
        loss.backward()
        optimizer.step()
    return first, loss.item()


@pytest.mark.parametrize(
    "optimizer",
    [{"name": "sgd", "momentum": 0.9}, {"name": "adam"}, {"name": "adamw"}],
    ids=lambda o: o["name"],
)
def test_classifier(optimizer: dict[str, Any]) -> None:
    """A classifier's suggestion trains it: within 100 steps the loss falls below half, over three seeds."""
    for seed in range(3):
        summary = found(blob_task(), batch_size=16, optimizer=optimizer, seed=seed).summary
        assert summary["confidence"] in ("high", "medium", "low")
        assert summary["repeats"] == 3
        assert summary["low"] <= summary["suggestion"] <= summary["high"]
        context = context_of(blob_task(), batch_size=16, optimizer=optimizer)
        torch.manual_seed(seed)
        model, stream = mlp(), context.data.train.stream(seed)
        trainer = context.program.optimizer(model, summary["suggestion"], 0.0)
        losses = []
        for _ in range(100):
            inputs, target = next(stream)
            trainer.zero_grad()
            loss = F.cross_entropy(model(inputs), target)
            loss.backward()
            trainer.step()
            losses.append(loss.item())
        assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def noise_only() -> lrtune.Task:
    """A model that can learn nothing: balanced labels, a constant output at its best, random gradients."""
    return blob_task(model=lambda: Constant(0.0, 0.0, 0.0), train=blobs(960))


@pytest.mark.parametrize("seed", range(5))
def test_nothing_descends(seed: int) -> None:
    """Where nothing can be learnt the loss falls at no rate, on five seeds."""
    result = found(noise_only(), seed=seed)
    assert codes(result) == ["no-descent"]
    assert result.summary["suggestion"] is None


def test_a_loss_without_slope() -> None:
    """A loss that does not move at all is no descent."""
    flat = quadratic_task(0.0)
    assert codes(found(flat, optimizer={"name": "sgd"}, find_lr={"weight_decay": 0.0})) == ["no-descent"]


def test_an_explicit_maximum_too_low() -> None:
    """A range that ends far below the bound is told; the sweeps go on beyond it, once, and find the divergence."""
    data = linear_data()
    most = 0.1 / curvature(data)
    keys = {"min": 1e-6, "max": most, "weight_decay": 0.0}
    result = found(linear_task(train=data), batch_size=64, optimizer={"name": "sgd"}, find_lr=keys)
    finding = next(one for one in result.findings if one.code == "never-diverged")
    assert finding.measured == pytest.approx(most)
    assert "find_lr.max" in finding.message
    assert 2 / curvature(data) / 2 < result.summary["diverged_at"] < 20 * 2 / curvature(data)
    assert result.summary["suggestion"] < 2 / curvature(data)
    assert result.verdict == "warn"
    assert max(result.details["learning_rates"]) == pytest.approx(1000 * most, rel=0.2)


def test_an_explicit_maximum_high_enough() -> None:
    """A range that the sweeps diverge in is not left."""
    keys = {"min": 1e-6, "max": 100.0, "weight_decay": 0.0}
    result = found(linear_task(), batch_size=64, optimizer={"name": "sgd"}, find_lr=keys)
    assert codes(result) == []
    assert max(result.details["learning_rates"]) == pytest.approx(100.0)


def test_beyond_the_default_maximum() -> None:
    """Small inputs take rates above the default maximum: found beyond it, and silently, since nobody asked for it."""
    data = linear_data()
    data.tensors[0].mul_(0.05)
    bound = 2 / curvature(data)
    assert bound > 100
    keys = {"weight_decay": 0.0}
    result = found(linear_task(train=data), batch_size=64, optimizer={"name": "sgd"}, find_lr=keys)
    assert "never-diverged" not in codes(result)
    assert bound / 100 < result.summary["suggestion"] < bound
    assert bound / 2 < result.summary["diverged_at"] < 20 * bound


def test_never_diverging() -> None:
    """Steps bounded by their own size, and a loss that is flat far out: told with the highest rate that was tried."""

    class Bounded(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            with torch.no_grad():
                for parameter in self.param_groups[0]["params"]:
                    parameter.sub_(torch.tanh(self.param_groups[0]["lr"] * parameter.grad))

    task = quadratic_task(0.01)
    bounded = dataclasses.replace(task, optimizer=lambda model, lr, decay: Bounded(model.parameters(), lr))
    result = found(bounded)
    finding = next(one for one in result.findings if one.code == "never-diverged")
    assert finding.measured == pytest.approx(1e4, rel=0.2)  # three decades above the default
    assert result.summary["diverged_at"] is None


@pytest.mark.parametrize(
    "loss", [lambda o, t: o.sum() * torch.nan, lambda o, t: o.sum() / 0], ids=["NaN", "infinite"]
)
def test_not_finite_from_the_first_step(loss: Any) -> None:
    """A loss that is never finite diverges everywhere, and nothing is suggested."""
    result = found(blob_task(loss=loss))
    assert codes(result) == ["diverges-everywhere"]
    assert result.to_dict()["summary"]["suggestion"] is None


def test_unstable_from_the_lowest_rate() -> None:
    """A range that begins far above the bound diverges everywhere."""
    keys = {"min": 1e6, "max": 1e9, "weight_decay": 0.0}
    result = found(linear_task(), batch_size=64, optimizer={"name": "sgd"}, find_lr=keys)
    assert codes(result) == ["diverges-everywhere"]


@pytest.mark.parametrize(("most", "steps"), [(1e4, 50), (0.1, 75)], ids=["diverges", "goes on"])
def test_details_hold_every_sweep(most: float, steps: int) -> None:
    """Rates, raw and smoothed losses of each seed, all of the sweep's length; None after a divergence.

    Beyond the maximum the rates go on for three decades as densely: 50 steps over six decades, and 25 more.
    """
    keys = {"min": most / 1e6, "max": most, "steps": 50, "repeats": 2, "weight_decay": 0.0}
    details = found(linear_task(), batch_size=64, optimizer={"name": "sgd"}, find_lr=keys).details
    assert len(details["learning_rates"]) == len(details["median"]) == steps
    ratios = torch.tensor(details["learning_rates"]).log10().diff()
    assert torch.allclose(ratios, torch.full_like(ratios, 6 / 49), atol=1e-4)
    assert [sweep["seed"] for sweep in details["sweeps"]] == [0, 1]
    for sweep in details["sweeps"]:
        assert len(sweep["loss"]) == len(sweep["smoothed"]) == steps
        assert sweep["loss"][-1] is None


def test_the_sweep_is_the_training_of_its_rates() -> None:
    """A sweep's raw losses are bitwise those of a plain loop with the rate of each step."""
    result = found(blob_task(train=list(batches_of(blobs(), 16).in_order())), find_lr={"repeats": 2})
    for seed, sweep in enumerate(result.details["sweeps"]):
        torch.manual_seed(seed)
        model = mlp()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=1e-4)
        batches = list(batches_of(blobs(), 16).in_order())
        for step, (rate, recorded) in enumerate(
            zip(result.details["learning_rates"], sweep["loss"], strict=True)
        ):
            if recorded is None:
                break
            optimizer.param_groups[0]["lr"] = rate
            inputs, target = batches[step % len(batches)]
            optimizer.zero_grad()
            loss = F.cross_entropy(model(inputs), target)
            loss.backward()
            optimizer.step()
            assert loss.item() == recorded
