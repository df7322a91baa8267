"""What heating a house takes, from its size, walls and weather: a regression with a Dataset of its own."""

from __future__ import annotations

from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune


def simulate(count: int) -> tuple[Tensor, Tensor]:
    """Draw houses `[count, 7]` in usual units, and the watts `[count]` that each needs; some need none."""
    draw = torch.Generator().manual_seed(91)
    low = torch.tensor([40.0, 2.2, 5.0, 0.2, 0.8, -15.0, 0.0])
    high = torch.tensor([250.0, 3.5, 60.0, 1.8, 3.0, 18.0, 600.0])
    houses = low + (high - low) * torch.rand(count, 7, generator=draw)
    floor, height, glass, wall_loss, glass_loss, outside, sun = houses.T
    walls = 4 * floor.sqrt() * height - 0.3 * glass
    loss = (walls * wall_loss + glass * glass_loss + 0.1 * floor * height) * (20 - outside)
    watts = (loss - 0.5 * glass * sun).clamp(min=0)
    return houses, watts * (1 + 0.03 * torch.randn(count, generator=draw))


class Houses(Dataset):
    """Pairs of a house and its heating; `bug` names the line that is wrong."""

    def __init__(self, bug: str = "") -> None:
        self.bug = bug
        houses, watts = simulate(1200)
        self.houses = houses if bug == "units" else (houses - houses.mean(dim=0)) / houses.std(dim=0)
        if bug == "logarithm":
            watts = watts.log()
        self.watts = watts if bug in ("watts", "logarithm") else (watts - watts.mean()) / watts.std()

    def __len__(self) -> int:
        return len(self.watts)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        house = self.houses[0] if self.bug == "index" else self.houses[index]
        return house, self.watts[index] if self.bug == "row" else self.watts[index : index + 1]


def make_model(
    depth: int = 3,
    width: int = 64,
    activation: type[nn.Module] = nn.ELU,
    last: type[nn.Module] = nn.Identity,
) -> nn.Module:
    """Build a perceptron that maps `[batch, 7]` to `[batch, 1]`."""
    layers: list[nn.Module] = []
    inputs = 7
    for _ in range(depth):
        layers += [nn.Linear(inputs, width), activation()]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1), last())


class HandMadeSGD(torch.optim.Optimizer):
    """Momentum by hand; `bug` names what is wrong with its update."""

    def __init__(self, params: Any, lr: float, weight_decay: float, bug: str = "") -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay})
        self.bug = bug

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update every parameter."""
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(0.9).add_(p.grad + group["weight_decay"] * p)
                if self.bug == "rebinds":
                    p = p - group["lr"] * velocity
                elif self.bug == "sign":
                    p.add_(group["lr"] * velocity)
                else:
                    p.sub_(group["lr"] * velocity)


def make_task(bug: str = "", optimizer_bug: str = "", **model: Any) -> lrtune.Task:
    """Describe the training."""
    return lrtune.Task(
        model=lambda: make_model(**model),
        train=Houses(bug),
        loss=nn.HuberLoss(),
        optimizer=lambda model, lr, decay: HandMadeSGD(model.parameters(), lr, decay, optimizer_bug),
    )


CASE = Case(
    name="heating regression",
    healthy=make_task,
    faults=(
        Fault(
            "target a row, output a column",
            ("target-shape-mismatch", "broadcast-target"),
            lambda: make_task("row"),
        ),
        Fault("columns in their units", ("input-not-normalised",), lambda: make_task("units")),
        Fault("target in watts", ("target-not-normalised",), lambda: make_task("watts")),
        Fault("logarithm of no watts", ("nonfinite-target",), lambda: make_task("logarithm")),
        Fault("always the first house", ("constant-input",), lambda: make_task("index")),
        Fault(
            "ten sigmoid layers",
            ("vanishing-gradient",),
            lambda: make_task(depth=10, activation=nn.Sigmoid),
        ),
        Fault(
            "ReLU after the last layer",
            ("cannot-overfit", "target-out-of-range"),
            lambda: make_task(last=nn.ReLU),
        ),
        Fault(
            "optimizer rebinds its variable",
            ("optimizer-does-not-step",),
            lambda: make_task(optimizer_bug="rebinds"),
        ),
        Fault("optimizer climbs", ("loss-explodes",), lambda: make_task(optimizer_bug="sign")),
    ),
    config={"batch_size": 40},
)
