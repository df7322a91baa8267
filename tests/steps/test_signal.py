"""Activations and gradients of whole programs: which faults are told, and which programs are healthy."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import blob_task, codes, context_of, generator
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import TensorDataset

import lrtune
from lrtune.steps.check_init import check_init

FAMILY = {"dead-units", "saturated-units", "vanishing-gradient", "exploding-gradient"}
SEEDS = range(2)
LABELS = torch.arange(192) % 3
FEATURES = torch.randn(192, 16, generator=generator(0)) + LABELS[:, None] - 1
SEQUENCES = torch.randn(192, 30, 4, generator=generator(1)) + LABELS[:, None, None] - 1
IMAGES = torch.rand(192, 1, 12, 12, generator=generator(2))
TOKENS = torch.randint(0, 5000, (192, 6), generator=generator(3))


def task_of(model: Any, inputs: Tensor = FEATURES, target: Tensor = LABELS, **fields: Any) -> lrtune.Task:
    """A classifier of three classes unless told otherwise."""
    return lrtune.Task(
        model=model, train=TensorDataset(inputs, target), **{"loss": F.cross_entropy, **fields}
    )


def found(task: lrtune.Task, seed: int = 0) -> list[str]:
    """The codes of this family that step 1 reports."""
    result = check_init(context_of(task, seed=seed))
    return [code for code in codes(result) if code in FAMILY]


def plain(depth: int, act: Any, initialise: Any = None, width: int = 32, norm: Any = None) -> nn.Sequential:
    """A chain of linear layers, biases zero where the weights are drawn anew."""
    layers: list[nn.Module] = []
    for index in range(depth):
        layer = nn.Linear(width if index else 16, width)
        if initialise is not None:
            initialise(layer.weight)
            nn.init.zeros_(layer.bias)
        layers += [layer, *([norm(width)] if norm else []), act()]
    return nn.Sequential(*layers, nn.Linear(width, 3))


def kaiming(factor: float = 1.0) -> Any:
    """Weights by fan-in for ReLU, times a factor."""

    def initialise(weight: Tensor) -> None:
        nn.init.kaiming_normal_(weight, nonlinearity="relu")
        weight.data.mul_(factor)

    return initialise


def normal(deviation: float) -> Any:
    """Weights of one deviation, whatever the fan-in."""
    return lambda weight: nn.init.normal_(weight, std=deviation)


def with_bias(model: nn.Sequential, index: int, value: float) -> nn.Sequential:
    """A model one of whose layers has this bias."""
    nn.init.constant_(model[index].bias, value)
    return model


class Residual(nn.Module):
    """Residual blocks of two layers, by Kaiming's initialisation.

    Args:
        depth: Blocks.
        norm: Before each block.
        factor: Of each block's last layer.
        layer_scale: Initial gain of each block.
    """

    def __init__(self, depth: int, norm: Any = nn.Identity, factor: float = 1.0, layer_scale: float = 1.0):
        super().__init__()
        self.stem, self.head = nn.Linear(16, 32), nn.Linear(32, 3)
        block = lambda: nn.Sequential(norm(32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))  # noqa: E731
        self.blocks = nn.ModuleList(block() for _ in range(depth))
        self.gains = nn.ParameterList(nn.Parameter(torch.full((32,), layer_scale)) for _ in range(depth))
        for one in self.blocks:
            kaiming()(one[1].weight)
            kaiming(factor)(one[3].weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        hidden = self.stem(inputs)
        for block, gain in zip(self.blocks, self.gains, strict=True):
            hidden = hidden + gain * block(hidden)
        return self.head(hidden)


class Recurrent(nn.Module):
    """A recurrent layer and a head on its last state."""

    def __init__(self, kind: Any, deviation: float | None = None, forget: float | None = None) -> None:
        super().__init__()
        self.layer, self.head = kind(4, 16, batch_first=True), nn.Linear(16, 3)
        with torch.no_grad():
            for name, parameter in self.layer.named_parameters():
                if deviation is not None:
                    parameter.normal_(std=deviation)
                if forget is not None and "bias_ih" in name:
                    parameter[16:32] = forget

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.layer(inputs)[0][:, -1])


class Unrolled(nn.Module):
    """A recurrence of one's own, with an orthogonal matrix of this radius."""

    def __init__(self, radius: float, act: Any) -> None:
        super().__init__()
        self.inputs, self.head, self.act = nn.Linear(4, 16), nn.Linear(16, 3), act
        self.recurrent = nn.Parameter(radius * torch.linalg.qr(torch.randn(16, 16))[0])

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        state = torch.zeros(len(inputs), 16)
        for step in range(inputs.shape[1]):
            state = self.act(self.inputs(inputs[:, step]) + state @ self.recurrent)
        return self.head(state)


class Transformer(nn.Module):
    """A text classifier of a large vocabulary."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=first)
        self.embedding = nn.Embedding(5000, 16)
        self.encoder = nn.TransformerEncoder(layer, 6, enable_nested_tensor=False)
        self.head = nn.Linear(16, 3)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits."""
        return self.head(self.encoder(self.embedding(tokens)).mean(1))


def convolutions(depth: int, norm: bool = True, bias: float | None = None) -> nn.Sequential:
    """A chain of convolutions."""
    layers: list[nn.Module] = []
    for index in range(depth):
        convolution = nn.Conv2d(16 if index else 1, 16, 3, padding=1)
        kaiming()(convolution.weight)
        if bias is not None and index == depth // 2:
            nn.init.constant_(convolution.bias, bias)
        layers += [convolution, *([nn.BatchNorm2d(16)] if norm else []), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))


class Table(nn.Module):
    """Embeds a category beside a column in the thousands."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = nn.ModuleList(nn.Embedding(4, 4) for _ in range(3))
        self.layers = nn.Sequential(
            nn.Linear(16 + 12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        categories = (inputs[:, 0] > 0).long()
        embedded = [1e-3 * table(categories) for table in self.tables]
        return self.layers(torch.cat([300 * inputs, *embedded], dim=1))


def tiny_head() -> nn.Sequential:
    """A head of deviation 1e-4."""
    model = plain(6, nn.ReLU, kaiming())
    normal(1e-4)(model[-1].weight)
    return model


def frozen() -> nn.Sequential:
    """Only the upper half is trained."""
    model = plain(6, nn.ReLU, kaiming())
    model[:6].requires_grad_(False)
    return model


def dictionary_task(**fields: Any) -> lrtune.Task:
    """Dict batches and a step that returns nothing but the loss."""
    batches = [{"x": x, "y": y} for x, y in zip(FEATURES.split(64), LABELS.split(64), strict=True)]
    step = lambda model, batch: F.cross_entropy(model(batch["x"]), batch["y"])  # noqa: E731
    return lrtune.Task(train=batches, step=step, **fields)


DOLLARS = 1e5 * FEATURES[:, :1] + 2e5
HEALTHY = {
    "20 layers of ReLU": lambda: task_of(lambda: plain(20, nn.ReLU, kaiming())),
    "12 layers of GELU": lambda: task_of(lambda: plain(12, nn.GELU, kaiming())),
    "20 layers of tanh": lambda: task_of(lambda: plain(20, nn.Tanh, nn.init.xavier_normal_)),
    "3 layers of sigmoid": lambda: task_of(lambda: plain(3, nn.Sigmoid)),
    "30 normalised layers": lambda: task_of(lambda: plain(30, nn.ReLU, norm=nn.BatchNorm1d)),
    "10 convolutions": lambda: task_of(lambda: convolutions(10), IMAGES),
    "20 residual blocks": lambda: task_of(lambda: Residual(20, nn.LayerNorm)),
    "30 blocks, no norm": lambda: task_of(lambda: Residual(30, factor=30**-0.5)),
    "30 blocks, zero branches": lambda: task_of(lambda: Residual(30, factor=0.0)),
    "LayerScale": lambda: task_of(lambda: Residual(12, nn.LayerNorm, layer_scale=1e-6)),
    "pre-norm": lambda: task_of(lambda: Transformer(True), TOKENS),
    "post-norm": lambda: task_of(lambda: Transformer(False), TOKENS),
    "gru": lambda: task_of(lambda: Recurrent(nn.GRU), SEQUENCES),
    "lstm, forget bias": lambda: task_of(lambda: Recurrent(nn.LSTM, forget=5.0), SEQUENCES),
    "orthogonal recurrence": lambda: task_of(lambda: Unrolled(1.0, torch.tanh), SEQUENCES),
    "raw columns beside tables": lambda: task_of(Table),
    "tiny head": lambda: task_of(tiny_head),
    "frozen half": lambda: task_of(frozen, pretrained=True),
    "targets in dollars": lambda: task_of(
        lambda: plain(2, nn.ReLU), FEATURES, DOLLARS.expand(-1, 3), loss=F.mse_loss
    ),
    "loss scaled by 1e-6": lambda: task_of(
        lambda: plain(4, nn.ReLU), loss=lambda o, t: 1e-6 * F.cross_entropy(o, t)
    ),
    "step": lambda: dictionary_task(model=lambda: plain(8, nn.ReLU, kaiming())),
    "sigmoid output": lambda: task_of(
        lambda: nn.Sequential(plain(1, nn.ReLU), nn.Sigmoid()),
        target=F.one_hot(LABELS).float(),
        loss=F.binary_cross_entropy,
    ),
}


@pytest.mark.parametrize("make", HEALTHY.values(), ids=HEALTHY)
def test_healthy_programs_are_silent(make: Any) -> None:
    """Programs that train raise none of the alarms, over several seeds."""
    for seed in SEEDS:
        assert found(make(), seed) == []


FAULTS = {
    "bias of -5": (lambda: task_of(lambda: with_bias(plain(4, nn.ReLU), 2, -5)), "dead-units"),
    "bias of -5, functional": (
        lambda: task_of(lambda: with_bias(plain(4, lambda: Function(F.relu)), 2, -5)),
        "dead-units",
    ),
    "bias of -9, convolution": (lambda: task_of(lambda: convolutions(5, False, -9), IMAGES), "dead-units"),
    "bias of -9, step": (
        lambda: dictionary_task(model=lambda: with_bias(plain(4, nn.GELU), 2, -9)),
        "dead-units",
    ),
    "dead in trained weights": (
        lambda: task_of(lambda: with_bias(plain(4, nn.ReLU), 2, -9), pretrained=True),
        "dead-units",
    ),
    "negative weights": (
        lambda: task_of(lambda: plain(3, nn.ReLU, lambda w: nn.init.uniform_(w, -0.2, -0.1)), FEATURES.abs()),
        "dead-units",
    ),
    "tanh, deviation 1": (lambda: task_of(lambda: plain(3, nn.Tanh, normal(1.0))), "saturated-units"),
    "sigmoid, deviation 4": (lambda: task_of(lambda: plain(3, nn.Sigmoid, normal(4.0))), "saturated-units"),
    "hardtanh": (lambda: task_of(lambda: plain(3, nn.Hardtanh, normal(2.0))), "saturated-units"),
    "wide gru": (lambda: task_of(lambda: Recurrent(nn.GRU, 3.0), SEQUENCES), "saturated-units"),
    "wide lstm": (lambda: task_of(lambda: Recurrent(nn.LSTM, 4.0), SEQUENCES), "saturated-units"),
    "12 layers of sigmoid": (lambda: task_of(lambda: plain(12, nn.Sigmoid)), "vanishing-gradient"),
    "12 of sigmoid, step": (
        lambda: dictionary_task(model=lambda: plain(12, nn.Sigmoid)),
        "vanishing-gradient",
    ),
    "5 layers of sigmoid": (lambda: task_of(lambda: plain(5, nn.Sigmoid)), "vanishing-gradient"),
    "5 layers of sigmoid, Xavier": (
        lambda: task_of(lambda: plain(5, nn.Sigmoid, nn.init.xavier_normal_, width=64)),
        "vanishing-gradient",
    ),
    "6 layers of sigmoid, small weights": (
        lambda: task_of(lambda: plain(6, nn.Sigmoid, normal(0.05))),
        "vanishing-gradient",
    ),
    "tanh, deviation 0.01": (lambda: task_of(lambda: plain(8, nn.Tanh, normal(0.01))), "vanishing-gradient"),
    "linear, deviation 0.01": (
        lambda: task_of(lambda: plain(8, nn.Identity, normal(0.01))),
        "vanishing-gradient",
    ),
    "30 layers of default ReLU": (lambda: task_of(lambda: plain(30, nn.ReLU)), "vanishing-gradient"),
    "three times Kaiming's": (
        lambda: task_of(lambda: plain(16, nn.ReLU, kaiming(3.0))),
        "exploding-gradient",
    ),
    "40 blocks, no norm": (lambda: task_of(lambda: Residual(40)), "exploding-gradient"),
    "recurrence of radius 3": (
        lambda: task_of(lambda: Unrolled(3.0, torch.relu), SEQUENCES),
        "exploding-gradient",
    ),
    "loss scaled by 1e6": (
        lambda: task_of(lambda: plain(2, nn.ReLU), loss=lambda o, t: 1e7 * F.cross_entropy(o, t)),
        "exploding-gradient",
    ),
}


class Function(nn.Module):
    """Calls a function."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function = function

    def forward(self, inputs: Tensor) -> Tensor:
        """Return what it gives."""
        return self.function(inputs)


@pytest.mark.parametrize(("make", "code"), FAULTS.values(), ids=FAULTS)
def test_faults_are_told(make: Any, code: str) -> None:
    """Each fault is told by its code, the first of the family, over several seeds."""
    for seed in SEEDS:
        assert found(make(), seed)[:1] == [code]


def test_messages_name_the_place() -> None:
    """The message says which module, and the fix for a steep loss is to scale the loss."""
    named = {
        "bias of -5": ["32 of 32 units of 3 (ReLU)", "192 examples"],
        "12 layers of sigmoid": [".weight", "before"],
        "loss scaled by 1e6": ["norm"],
    }
    for name, parts in named.items():
        make, code = FAULTS[name]
        result = check_init(context_of(make()))
        (one,) = [finding for finding in result.findings if finding.code == code]
        assert all(part in one.message for part in parts), one.message
        assert ("Scale the loss" in one.fix) == name.startswith("loss")


def test_what_follows_from_a_cause_says_so() -> None:
    """A large initial loss under exploding gradients, and fading gradients behind a dead layer, name their cause."""
    result = check_init(context_of(FAULTS["three times Kaiming's"][0]()))
    follows = {finding.code: finding.follows_from for finding in result.findings}
    assert follows["initial-loss-high"] == "exploding-gradient"


def test_a_layer_that_hardly_ever_fires() -> None:
    """Units that one value in thousands switches on are as good as dead."""

    def model() -> nn.Module:
        norm = nn.BatchNorm2d(8)
        nn.init.constant_(norm.bias, -4.0)
        return nn.Sequential(nn.Conv2d(1, 8, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 3))

    draw = generator(0)
    images = TensorDataset(torch.randn(256, 1, 8, 8, generator=draw), torch.arange(256) % 3)
    assert "dead-units" in codes(check_init(context_of(blob_task(model=model, train=images, val=None))))
