from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.checks.loss import several_labels
from lrtune.probes.losses.soft_labels import SoftLabels, soft_labels
from lrtune.probes.sample import Sample

INPUTS = torch.randn(64, 5, generator=generator(0))
CLASSES = torch.arange(64) % 5
HARD = F.one_hot(CLASSES, 5).float()


def tags(chance: float, seed: int, width: int = 5) -> Tensor:
    """Any number of tags for each of 64 examples."""
    return (torch.rand(64, width, generator=generator(seed)) < chance).float()


def measured(target: Tensor, inputs: Tensor = INPUTS, **fields: Any) -> SoftLabels | None:
    """What the probe says of a perceptron on these targets."""
    parts = {"loss": nn.CrossEntropyLoss()} if "step" not in fields else {}
    model = fields.pop("model", lambda: mlp(inputs.shape[1], target.shape[1]))
    task = lrtune.Task(model=model, train=TensorDataset(inputs, target), **parts, **fields)
    context = context_of(task)
    return soft_labels(Sample(context.program, context.data.train, context.data.train.head(2, 0), 0))


def test_known_sums() -> None:
    """Rows of two labels each sum to 2."""
    target = F.one_hot(CLASSES, 5).float() + F.one_hot((CLASSES + 1) % 5, 5).float()
    seen = measured(target)
    assert seen is not None
    assert (seen.classes, seen.several, seen.sums) == (5, seen.rows, (2.0, 2.0, 2.0))
    found = several_labels(seen)
    assert found is not None
    assert found.code == "target-out-of-range"
    assert "2 to 2" in found.message


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("chance", [0.2, 0.35, 0.5])
def test_several_tags(chance: float, seed: int) -> None:
    """Several labels an example are told, in a pair, in a step and for each pixel."""

    def step(model: nn.Module, batch: Any) -> Tensor:
        return F.cross_entropy(input=model(batch[0]), target=batch[1])

    pixels = torch.stack([tags(chance, seed + 9 * place) for place in range(6)], dim=2)
    each = {"model": lambda: nn.Sequential(nn.Linear(5, 30), nn.Unflatten(1, (5, 6)))}
    for fields in ({}, {"step": step}):
        seen = measured(tags(chance, seed), **fields)
        assert seen is not None
        assert several_labels(seen)
    seen = measured(pixels, **each)
    assert seen is not None
    assert several_labels(seen)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "kind", ["hard", "smooth", "mixed", "distilled", "weighed", "weighed smooth", "shared"]
)
def test_healthy_rows(kind: str, seed: int) -> None:
    """Soft labels sum to 1; a weight of an example may make them sum to more, or to less."""
    order = torch.randperm(64, generator=generator(seed))
    weights = 0.2 + 2 * torch.rand(64, 1, generator=generator(seed))
    share = torch.rand(64, 1, generator=generator(seed))
    several = tags(0.4, seed) + 1e-6
    target = {
        "hard": HARD,
        "smooth": 0.9 * HARD + 0.02,
        "mixed": share * HARD + (1 - share) * HARD[order],
        "distilled": torch.randn(64, 5, generator=generator(seed)).softmax(1),
        "weighed": weights * HARD,
        "weighed smooth": weights * (0.9 * HARD + 0.02),
        "shared": several / several.sum(1, keepdim=True),
    }[kind]
    seen = measured(target)
    assert seen is not None
    assert several_labels(seen) is None


def test_class_numbers_and_other_losses() -> None:
    """Numbers of classes are no rows, and losses of yes and no take several labels."""
    assert measured(tags(0.4, 0), step=lambda model, batch: F.mse_loss(model(batch[0]), batch[1])) is None
    steps = lambda model, batch: F.cross_entropy(model(batch[0]), batch[1].argmax(1))  # noqa: E731
    assert measured(HARD, step=steps) is None
    yes = lambda model, batch: F.binary_cross_entropy_with_logits(model(batch[0]), batch[1])  # noqa: E731
    assert measured(tags(0.4, 0), step=yes) is None


@pytest.mark.parametrize("kept", [1.0, 0.6])
def test_baskets(kept: float) -> None:
    """An autoencoder of baskets scores a basket's items by one softmax on purpose, also from a part of them."""
    baskets = tags(0.4, 0)
    assert measured(baskets, baskets * (torch.rand(64, 5, generator=generator(1)) < kept)) is None
