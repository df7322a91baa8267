"""A perceptron that tells three arms of a spiral apart; nn.Sequential, a TensorDataset and a loss by name."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

ARMS = 3


def draw_spirals(points: int) -> tuple[Tensor, Tensor]:
    """Draw points in the plane `[points, 2]` and the arm that each lies on."""
    generator = torch.Generator().manual_seed(31)
    arm = torch.randint(ARMS, (points,), generator=generator)
    along = torch.rand(points, generator=generator)
    angle = 2 * math.pi * arm / ARMS + 4.0 * along + 0.08 * torch.randn(points, generator=generator)
    radius = 0.2 + 1.8 * along
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), arm


def build(bug: str) -> nn.Sequential:
    """Build three hidden layers; `bug` names the line that is wrong."""
    layers: list[nn.Module] = []
    for width in (2, 64, 64):
        layers.append(nn.Linear(width, 64))
        if bug != "linear":
            layers.append(nn.SiLU())
        if width > 2:
            layers.append(nn.Dropout(0.9 if bug == "keep" else 0.1))
    layers.append(nn.Linear(64, ARMS))
    if bug == "softmax":
        layers.append(nn.Softmax(dim=1))
    model = nn.Sequential(*layers)
    if bug == "zeros":
        for parameter in model.parameters():
            nn.init.zeros_(parameter)
    return model


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    points, arms = draw_spirals(1200)
    if bug == "bytes":
        points = points / 255
    if bug == "from one":
        arms = arms + 1
    return lrtune.Task(
        model=lambda: build(bug),
        train=TensorDataset(points[:1000], arms[:1000]),
        val=TensorDataset(points[1000:], arms[1000:]),
        loss=nn.CrossEntropyLoss(),
        metrics={"accuracy": lambda logits, arm: (logits.argmax(dim=1) == arm).float().mean()},
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="spirals-mlp",
    healthy=make_task,
    config={"optimizer": {"name": "adamw"}},
    faults=(
        # Humbatova 2020, "missing activation function"; Zhang 2018.
        fault("the activations between the layers are missing", "linear", "cannot-overfit"),
        # Stack Overflow's most frequent loss fault; UMLAUT; mlelarge/graph_neural_net#37.
        fault("a softmax before the cross-entropy", "softmax", "double-softmax"),
        # Raschka's debugging checklist; Humbatova 2020, "wrong weights initialisation"; NeuraLint.
        fault("all weights and biases start at zero", "zeros", "symmetric-init"),
        # Humbatova 2020, "wrong preprocessing"; 37 reasons, "standardise the features".
        fault("coordinates divided by 255, as pixels are", "bytes", "input-not-normalised"),
        # 37 reasons, "check the labels"; PyTorch forum, "Assertion t >= 0 && t < n_classes failed".
        fault("arms numbered from 1", "from one", "target-out-of-range"),
        # Stack Overflow, keep_prob of TensorFlow against p of torch; Zhang 2018.
        fault("dropout is given the share to keep, 0.9", "keep", "train-eval-gap"),
    ),
)
