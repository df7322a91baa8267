"""A perceptron that tells seven kinds of beans apart; a map-style dataset gives dicts, a step unpacks them."""

from __future__ import annotations

import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

KINDS = 7
TYPICAL = torch.tensor([53000.0, 855.0, 320.0, 200.0, 1.6, 0.75, 53800.0, 253.0, 0.98, 0.87, 0.80, 0.0066])
SPREAD = torch.tensor([12000.0, 110.0, 50.0, 26.0, 0.25, 0.09, 12200.0, 30.0, 0.005, 0.06, 0.06, 0.0011])


def measure_beans(beans: int) -> tuple[Tensor, Tensor]:
    """Draw measurements in their units `[beans, 12]` and the kinds."""
    generator = torch.Generator().manual_seed(77)
    centres = 1.6 * torch.randn(KINDS, 12, generator=generator)
    kinds = torch.randint(KINDS, (beans,), generator=generator)
    scores = centres[kinds] + 0.8 * torch.randn(beans, 12, generator=generator)
    return TYPICAL + SPREAD * scores, kinds


class Beans(Dataset[dict[str, Any]]):
    """Beans as dicts of features and kind."""

    def __init__(self, features: Tensor, kinds: Tensor) -> None:
        self.features, self.kinds = features, kinds

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.features)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return one bean."""
        return {"features": self.features[index], "kind": int(self.kinds[index])}


class BeanNet(nn.Module):
    """Two hidden layers with dropout; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.first = nn.Linear(12, 64)
        self.second = nn.Linear(64, 64)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(64, 6 if bug == "six" else KINDS)
        if bug == "ones":
            self.apply(fill_with_ones)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, 12]` to logits `[batch, kinds]`."""
        hidden = self.drop(torch.relu(self.first(features)))
        second = nn.Linear(64, 64) if self.bug == "made in forward" else self.second
        return self.head(torch.relu(second(hidden)))


def fill_with_ones(module: nn.Module) -> None:
    """Set a linear layer's weights to a constant and its biases to zero."""
    if isinstance(module, nn.Linear):
        nn.init.constant_(module.weight, 1 / module.in_features)
        nn.init.zeros_(module.bias)


def train_step(model: nn.Module, batch: dict[str, Any], bug: str) -> dict[str, Tensor]:
    """Return the loss of a batch of dicts."""
    logits = model(batch["features"].float())
    if bug == "argmax":
        wrong = (logits.argmax(dim=1) - batch["kind"]).float().abs().mean()
        return {"loss": wrong.requires_grad_(), "output": logits, "target": batch["kind"]}
    loss = nn.functional.cross_entropy(logits, batch["kind"])
    return {"loss": loss, "output": logits, "target": batch["kind"]}


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    features, kinds = measure_beans(1100)
    if bug == "whole table":
        features = (features - features.mean()) / features.std()
    else:
        features = (features - features.mean(dim=0)) / features.std(dim=0)
    if bug == "0/0":
        convex = (features[:, 8:9] > -2).float()
        features = torch.cat([features[:, :11], features[:, 11:] * convex / convex], dim=1)
    return lrtune.Task(
        model=lambda: BeanNet(bug),
        train=Beans(features[:900], kinds[:900]),
        val=Beans(features[900:], kinds[900:]),
        step=functools.partial(train_step, bug=bug),
        optimizer=lambda model, lr, decay: torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="beans-mlp",
    healthy=make_task,
    faults=(
        fault(
            "a hidden layer made in forward",
            "made in forward",
            "unregistered-parameter",
            "nondeterministic-model",
        ),
        fault("standardised by mean and deviation of the whole table", "whole table", "input-not-normalised"),
        fault("the loss of the argmax", "argmax", "detached-loss"),
        fault("every weight starts at the same constant", "ones", "symmetric-init"),
        fault("a ratio of 0 and 0 among the features", "0/0", "nonfinite-input"),
        fault("six outputs for seven kinds", "six", "target-out-of-range"),
    ),
)
