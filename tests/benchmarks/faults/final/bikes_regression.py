"""Hours of bike rentals from weather and calendar; a step, an optimizer with a rate for each layer, RMSprop."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


def count_rentals(hours: int) -> tuple[Tensor, Tensor]:
    """Draw standardised features `[hours, 9]` and how many bikes were rented `[hours]`."""
    generator = torch.Generator().manual_seed(404)
    features = torch.randn(hours, 9, generator=generator)
    warm, wet, hour = features[:, 0], features[:, 1], features[:, 2]
    trend = (
        0.8 * warm
        - 0.5 * wet.clamp(min=0)
        + 0.9 * torch.sin(2 * hour)
        + 0.3 * features[:, 3] * features[:, 4]
    )
    noise = 0.15 * torch.randn(hours, generator=generator)
    return features, (1900 + 620 * (trend + noise)).clamp(min=0)


class RentalNet(nn.Module):
    """A perceptron with SiLU; the output is one number for each hour."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(9, 48), nn.SiLU(), nn.Linear(48, 48), nn.SiLU())
        self.head = nn.Linear(48, 1)
        self.last = nn.Tanh() if bug == "tanh" else nn.Identity()

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, 9]` to `[batch, 1]`."""
        return self.last(self.head(self.body(features)))


def train_step(model: nn.Module, batch: list[Tensor], bug: str) -> dict[str, Tensor]:
    """Return loss, output and target of a batch."""
    features, rentals = batch
    answers = model(features)
    if bug != "column":
        answers = answers.squeeze(1)
    if bug == "log":
        loss = nn.functional.mse_loss(torch.log(answers), torch.log1p(rentals))
    else:
        loss = nn.functional.smooth_l1_loss(answers, rentals)
    return {"loss": loss, "output": answers, "target": rentals}


def by_layer(
    model: nn.Module, learning_rate: float, weight_decay: float, decayed: float
) -> torch.optim.Optimizer:
    """Build RMSprop whose rate gets lower from the head to the first layer."""
    layers = [model.head, model.body[2], model.body[0]]
    groups = [
        {"params": list(layer.parameters()), "lr": learning_rate * decayed**depth}
        for depth, layer in enumerate(layers)
    ]
    return torch.optim.RMSprop(groups, lr=learning_rate, weight_decay=weight_decay)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    features, rentals = count_rentals(900)
    if bug == "date":
        days = torch.arange(len(features)) % 28
        features = torch.cat([features[:, :8], (20250101 + days).float().unsqueeze(1)], dim=1)
    if bug not in ("raw", "log"):
        rentals = (rentals - rentals.mean()) / rentals.std()
    return lrtune.Task(
        model=lambda: RentalNet(bug),
        train=TensorDataset(features[:700], rentals[:700]),
        val=TensorDataset(features[700:], rentals[700:]),
        step=functools.partial(train_step, bug=bug),
        optimizer=functools.partial(by_layer, decayed=0.0 if bug == "zero rate" else 0.7),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="bikes-regression",
    healthy=make_task,
    faults=(
        fault(
            "answers [batch, 1] against rentals [batch]",
            "column",
            "broadcast-target",
            "target-shape-mismatch",
        ),
        fault("rentals in thousands as they are", "raw", "target-not-normalised", "initial-loss-high"),
        fault("the logarithm of answers that may be negative", "log", "nonfinite-loss"),
        fault("rates of the lower layers multiplied by 0", "zero rate", "optimizer-does-not-step"),
        fault("the date as the number 20250131 among standardised columns", "date", "input-not-normalised"),
        fault("a tanh on the output, rentals standardised", "tanh", "cannot-overfit", "target-out-of-range"),
    ),
)
