from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from programs import blob_task, blobs, codes, context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.losses.fixed_scale import compares_examples, has_fixed_scale
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init


class Cosine(nn.Module):
    """A classifier by the cosines between features and a vector a class, times a constant."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.body, self.classes, self.scale = mlp(4, 2, 16), nn.Parameter(torch.randn(3, 2)), scale

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits from -scale to scale."""
        return self.scale * F.linear(F.normalize(self.body(inputs)), F.normalize(self.classes))


def normed() -> nn.Module:
    """A net whose hidden values are normalised, but not its outputs."""
    return nn.Sequential(nn.Linear(4, 16), nn.LayerNorm(16), nn.ReLU(), nn.Linear(16, 3))


@pytest.mark.parametrize(
    ("model", "fixed"),
    [
        pytest.param(functools.partial(Cosine, 16.0), True, id="cosines"),
        pytest.param(mlp, False, id="plain"),
        pytest.param(normed, False, id="normalised inside"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_fixed_scale(model: Any, fixed: bool, seed: int) -> None:
    """Only outputs that no weight can scale have a scale of their own."""
    context = context_of(blob_task(model=model), seed=seed)
    sample = Sample(context.program, context.data.train, context.data.train.head(1, seed), seed)
    assert has_fixed_scale(sample) == fixed


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("scale", "expected"), [(64.0, []), (1000.0, ["initial-loss-high"])])
def test_cosine_heads_begin_high(scale: float, expected: list[str], seed: int) -> None:
    """The scales in use are no fault, however high the first loss; a temperature of a thousandth is one."""
    result = check_init(context_of(blob_task(model=functools.partial(Cosine, scale)), seed=seed))
    assert [code for code in codes(result) if code.startswith("initial")] == expected


@pytest.mark.parametrize(
    ("output", "target", "expected"),
    [
        pytest.param(torch.zeros(8, 8), torch.arange(8), True, id="the other view of each"),
        pytest.param(torch.zeros(8, 8), torch.arange(8).roll(4), True, id="views one after the other"),
        pytest.param(torch.zeros(8, 7), torch.tensor([3, 4, 5, 6, 0, 1, 2, 7]), True, id="itself left out"),
        pytest.param(torch.zeros(8, 8), torch.arange(8) % 4, False, id="labels twice"),
        pytest.param(torch.zeros(8, 1000), torch.arange(8), False, id="eight of a thousand classes"),
        pytest.param(torch.zeros(3, 3), torch.arange(3), False, id="too few to tell"),
        pytest.param(torch.zeros(8, 8), torch.rand(8), False, id="numbers"),
        pytest.param(None, torch.arange(8), False, id="no output"),
    ],
)
def test_compares_examples(output: Any, target: Any, expected: bool) -> None:
    """As many classes as examples and each label once: the examples themselves are the classes."""
    assert compares_examples(output, target) == expected


def contrastive(step: Any) -> lrtune.Task:
    """Two noisy views of each example, embedded."""
    views = blobs(128).tensors[0]
    return lrtune.Task(model=lambda: mlp(4, 8, 32), train=list(views.split(32)), step=step)


def pairs(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Ask for each example's other view among the batch."""
    one, other = (F.normalize(model(batch + 0.05 * torch.randn_like(batch))) for _ in range(2))
    output, target = one @ other.T / 0.2, torch.arange(len(batch))
    return {"loss": F.cross_entropy(output, target), "output": output, "target": target}


def queue(model: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    """Ask for the other view, which stands first, among a queue of strangers."""
    one, other = (F.normalize(model(batch + 0.05 * torch.randn_like(batch))) for _ in range(2))
    strangers = F.normalize(torch.randn(100, 8, generator=generator(3)))
    output = torch.cat([(one * other.detach()).sum(1, keepdim=True), one @ strangers.T], 1) / 0.2
    target = torch.zeros(len(batch), dtype=torch.long)
    return {"loss": F.cross_entropy(output, target), "output": output, "target": target}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("step", [pairs, queue], ids=lambda step: step.__name__)
def test_contrastive_losses_are_silent(step: Any, seed: int) -> None:
    """Views that are alike from the beginning make a low loss, and labels that the step makes may all be 0."""
    assert codes(check_init(context_of(contrastive(step), seed=seed))) == []
