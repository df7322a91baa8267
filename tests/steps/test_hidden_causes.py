"""Faults that end in another symptom, end to end: the cause is named."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from programs import codes, context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

import lrtune
from lrtune.steps.check_init import check_init

INPUTS = torch.randn(240, 6, generator=generator(0))
LABELS = torch.arange(240) % 4


def in_a_step(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Score a dict with torch's cross-entropy."""
    return F.cross_entropy(model(batch["x"]), batch["label"])


def of_dicts(labels: Tensor) -> lrtune.Task:
    """A step on dicts with these labels."""
    rows = [{"x": x, "label": label} for x, label in zip(INPUTS, labels, strict=True)]
    return lrtune.Task(model=lambda: mlp(6, 4), train=DataLoader(rows, 30), step=in_a_step)  # type: ignore[arg-type]


def test_labels_of_a_softmax() -> None:
    """One-hot whole numbers crash, several labels do not; both are named, and one-hot real numbers are well."""
    one_hot = F.one_hot(LABELS, 4)
    assert codes(check_init(context_of(of_dicts(one_hot)))) == ["target-dtype"]
    several = (one_hot + F.one_hot((LABELS * 7 // 3) % 4, 4)).clamp(max=1).float()
    assert "target-out-of-range" in codes(check_init(context_of(of_dicts(several))))
    wrong = {"target-dtype", "target-out-of-range"}
    assert not wrong & set(codes(check_init(context_of(of_dicts(one_hot.float())))))
    assert not wrong & set(codes(check_init(context_of(of_dicts(LABELS)))))


def stack(sizes: list[int], activation: type[nn.Module]) -> list[nn.Module]:
    """Linear layers with an activation after each but the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return layers[:-1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("activation", "wrong"),
    [(nn.Sigmoid, True), (nn.Tanh, False), (nn.ReLU, False), (nn.GELU, False)],
)
def test_autoencoders(activation: type[nn.Module], wrong: bool, seed: int) -> None:
    """Sigmoids fade on both sides of a code that has none; other activations do not fade as much."""
    sizes = [64, 64, 64, 48, 32, 16, 8]
    waves = torch.randn(200, 4, generator=generator(1)) @ torch.randn(4, 64, generator=generator(2)) / 2

    def model() -> nn.Sequential:
        layers = [*stack(sizes, activation), *stack(sizes[::-1], activation)]
        return nn.Sequential(*layers)

    task = lrtune.Task(
        model=model,
        train=TensorDataset(waves, waves),
        loss=nn.MSELoss(),
    )
    assert ("vanishing-gradient" in codes(check_init(context_of(task, seed=seed)))) == wrong


@pytest.mark.parametrize(("power", "wrong"), [(1, True), (-1, False), (-0.5, False)])
def test_samplers(power: float, wrong: bool) -> None:
    """A sampler that favours the frequent class is told, one that makes up for its rarity wholly or partly is not."""
    labels = (torch.arange(240) % 12 == 0).float()
    counts = torch.bincount(labels.long()).double()
    weights = (counts**power)[labels.long()].tolist()
    loader: Any = DataLoader(
        TensorDataset(INPUTS, labels[:, None]),
        30,
        sampler=WeightedRandomSampler(weights, 240, generator=generator(0)),
    )
    task = lrtune.Task(model=lambda: mlp(6, 1), train=loader, loss=nn.BCEWithLogitsLoss())
    assert ("class-imbalance" in codes(check_init(context_of(task)))) == wrong


@pytest.mark.parametrize("dimension", [0, 1])
def test_projections(dimension: int) -> None:
    """Projections brought to length 1 over the batch are told, over their own numbers not."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        one, two = (F.normalize(model(view), dim=dimension) for view in batch)
        return F.cross_entropy(one @ two.T / 0.2, torch.arange(len(one)))

    views = TensorDataset(INPUTS, INPUTS + 0.1 * torch.randn(240, 6, generator=generator(3)))
    task = lrtune.Task(model=lambda: mlp(6, 8), train=DataLoader(views, 30, drop_last=True), step=step)
    assert ("batch-mixing" in codes(check_init(context_of(task)))) == (dimension == 0)
