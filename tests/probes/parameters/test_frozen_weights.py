from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from programs import codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it

import lrtune
from lrtune.probes.parameters.frozen_weights import frozen_weights, is_as_built
from lrtune.probes.sample import Sample
from lrtune.steps.check_init import check_init

X = torch.randn(64, 8, generator=generator(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()
IMAGES = torch.randn(64, 1, 8, 8, generator=generator(1))
WORDS = torch.randint(50, (64, 6), generator=generator(2))


def frozen(module: nn.Module) -> nn.Module:
    """Freeze a part."""
    return module.requires_grad_(False)


def backbone() -> nn.Sequential:
    """Two layers."""
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())


def convolutions() -> nn.Module:
    """A small convolutional net."""
    stem = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU())
    return nn.Sequential(frozen(stem), nn.Flatten(), nn.Linear(256, 3))


def attention() -> nn.Module:
    """A frozen transformer layer."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8)), frozen(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)), nn.Flatten(),
        nn.Linear(8, 3),
    )  # fmt: skip


class Adapted(nn.Module):
    """A frozen backbone beside which a small part is learnt."""

    def __init__(self, loaded: bool) -> None:
        super().__init__()
        self.base = backbone()
        if loaded:
            draw = generator(9)
            for one in self.base.parameters():
                one.data = 0.2 * torch.randn(one.shape, generator=draw)
        frozen(self.base)
        self.down, self.up, self.head = nn.Linear(16, 2), nn.Linear(2, 16), nn.Linear(16, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        features = self.base(inputs)
        return self.head(features + self.up(self.down(features)))


class Reservoir(nn.Module):
    """A recurrent net of random weights (Jaeger, 2001)."""

    def __init__(self) -> None:
        super().__init__()
        self.enter, self.own = frozen(nn.Linear(1, 64)), frozen(nn.Linear(64, 64))
        self.read = nn.Linear(64, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits after eight steps."""
        state = inputs.new_zeros(len(inputs), 64)
        for value in inputs.split(1, 1):
            state = torch.tanh(self.enter(value) + self.own(state))
        return self.read(state)


class Features(nn.Module):
    """Random Fourier features (Rahimi and Recht, 2007)."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.head = frozen(nn.Linear(8, 256)), nn.Linear(256, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.project(inputs).cos())


class Distilled(nn.Module):
    """A random network that is only predicted (Burda et al., 2019)."""

    def __init__(self) -> None:
        super().__init__()
        self.goal, self.guess = frozen(backbone()), nn.Sequential(nn.Linear(8, 16))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the error of each example."""
        return (self.guess(inputs) - self.goal(inputs)).square().mean(1)


class Teacher(nn.Module):
    """A copy that follows."""

    def __init__(self) -> None:
        super().__init__()
        self.online = backbone()
        self.follower = frozen(copy.deepcopy(self.online))
        self.head = nn.Linear(16, 16)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the error of each example."""
        return (self.head(self.online(inputs)) - self.follower(inputs)).square().mean(1)


class Text(nn.Module):
    """Frozen tables of words and places."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = frozen(nn.Embedding(50, 32)), frozen(nn.Embedding(6, 32))
        self.head = nn.Linear(32, 3)

    def forward(self, words: Tensor) -> Tensor:
        """Return logits."""
        return self.head((self.words(words) + self.places.weight).mean(1))


def task_of(make: Any, inputs: Tensor = X, **fields: Any) -> lrtune.Task:
    """A classification, or the mean of what the model returns."""

    def step(model: nn.Module, batch: list[Tensor]) -> Tensor:
        output = model(batch[0])
        return output.mean() if output.ndim == 1 else F.cross_entropy(output, batch[1])

    return lrtune.Task(model=make, train=torch.utils.data.TensorDataset(inputs, Y), step=step, **fields)


FAULTY: dict[str, Any] = {
    "perceptron": (lambda: nn.Sequential(frozen(backbone()), nn.Linear(16, 3)), X),
    "convolutions": (convolutions, IMAGES),
    "transformer": (attention, X),
    "adapters": (lambda: Adapted(loaded=False), X),
}
HEALTHY: dict[str, Any] = {
    "loaded": (lambda: Adapted(loaded=True), X),
    "reservoir": (Reservoir, X),
    "random features": (Features, X),
    "distillation": (Distilled, X),
    "teacher": (Teacher, X),
    "tables": (Text, WORDS),
    "stem": (lambda: nn.Sequential(frozen(nn.Linear(8, 32)), nn.ReLU(), nn.Linear(32, 3)), X),
}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "inputs"), FAULTY.values(), ids=FAULTY)
def test_random_weights_frozen(make: Any, inputs: Tensor, seed: int) -> None:
    """Layers that were drawn and frozen are told."""
    assert "frozen-model" in codes(check_init(context_of(task_of(make, inputs), seed=seed)))


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_models_that_are_called_trained(seed: int, trained: bool) -> None:
    """A task that says so is believed, though the weights follow the seed, unless they are just as torch draws them."""

    def build() -> nn.Module:
        base = backbone()
        if trained:
            for one in base.parameters():
                one.data += 0.05 * torch.randn(one.shape)
        return nn.Sequential(frozen(base), nn.Linear(16, 3))

    context = context_of(task_of(build, X, pretrained=True))
    batches = context.data.train.head(1, seed)
    seen = frozen_weights(Sample(context.program, context.data.train, batches, seed))
    assert (seen is None) == trained


def test_layers_as_torch_builds_them() -> None:
    """New layers of any shape are known by the bounds and the spread of their weights, others are not."""
    for seed in range(20):
        torch.manual_seed(seed)
        new = [
            nn.Linear(8, 32),
            nn.Conv2d(4, 8, 3),
            nn.Conv1d(8, 8, 5, groups=4),
            nn.ConvTranspose2d(4, 8, 2),
        ]
        assert all(map(is_as_built, new))
        nn.init.kaiming_normal_(new[0].weight)
        nn.init.xavier_uniform_(new[1].weight)
        assert not any(map(is_as_built, new[:2]))
    assert not is_as_built(nn.LayerNorm(8))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("make", "inputs"), HEALTHY.values(), ids=HEALTHY)
def test_what_is_frozen_by_design(make: Any, inputs: Tensor, seed: int) -> None:
    """Loaded weights, random projections, reservoirs, tables, and networks that only set a target are silent."""
    assert "frozen-model" not in codes(check_init(context_of(task_of(make, inputs), seed=seed)))
