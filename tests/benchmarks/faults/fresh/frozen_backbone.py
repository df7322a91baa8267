"""A new head on a frozen backbone, which was trained on the digits 0 to 4, for the digits 5 to 9."""

from __future__ import annotations

from functools import cache

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune


class Net(nn.Module):
    """A convolutional backbone and a linear `fc`."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(32, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Flatten(),
        )
        self.fc = nn.Linear(128, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to logits."""
        return self.fc(self.backbone(images))


class WithoutGradient(nn.Module):
    """Wraps all of a network in no_grad, where only the backbone was meant."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits."""
        with torch.no_grad():
            return self.net(images)


def load_digits(high: bool, scale: bool = True) -> TensorDataset:
    """Read the digits 5 to 9, counted from 0, or else those from 0 to 4."""
    pixels, digits = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    images = pixels.float().reshape(-1, 1, 8, 8)
    if scale:
        images = (images - images.mean()) / images.std()
    wanted = (digits >= 5) == high
    return TensorDataset(images[wanted], digits[wanted] % 5)


@cache
def trained_weights() -> dict[str, Tensor]:
    """Train the network on the digits 0 to 4."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(121)
        net = Net(5)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        for _ in range(6):
            for images, digits in DataLoader(load_digits(high=False), batch_size=50, shuffle=True):
                optimizer.zero_grad()
                nn.functional.cross_entropy(net(images), digits).backward()
                optimizer.step()
    return {name: value.clone() for name, value in net.state_dict().items()}


def make_model(bug: str = "") -> nn.Module:
    """Load the weights, freeze them and put a new head on; `bug` names the line that is wrong."""
    net = Net(5)
    net.load_state_dict(trained_weights())
    if bug == "frozen last":
        net.fc = nn.Linear(128, 5)
    for p in net.parameters():
        p.requires_grad = False
    if bug == "other name":
        # The head of this network is not called classifier.
        net.classifier = nn.Linear(128, 5)
    elif bug == "softmax":
        net.fc = nn.Sequential(nn.Linear(128, 5), nn.Softmax(dim=-1))
    elif bug == "zero hidden":
        net.fc = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, 5))
        for p in net.fc.parameters():
            nn.init.zeros_(p)
    elif bug != "frozen last":
        net.fc = nn.Linear(128, 5)
        nn.init.zeros_(net.fc.bias)
        nn.init.normal_(net.fc.weight, std=0.01)
    return WithoutGradient(net) if bug == "no_grad" else net


def make_task(bug: str = "", scale: bool = True) -> lrtune.Task:
    """Describe the training."""

    def make_optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        learnt = model.backbone.parameters() if bug == "backbone alone" else model.parameters()
        return torch.optim.Adam(learnt, lr=lr, weight_decay=weight_decay)

    return lrtune.Task(
        model=lambda: make_model(bug),
        train=load_digits(high=True, scale=scale),
        loss=nn.functional.cross_entropy,
        optimizer=make_optimizer,
        pretrained=True,
    )


CASE = Case(
    name="frozen backbone",
    healthy=make_task,
    faults=(
        Fault("frozen after the head was replaced", ("frozen-model",), lambda: make_task("frozen last")),
        Fault(
            "head replaced under another name",
            ("parameter-without-gradient", "frozen-model", "detached-loss"),
            lambda: make_task("other name"),
        ),
        Fault("all of it under no_grad", ("detached-loss",), lambda: make_task("no_grad")),
        Fault(
            "optimizer of the backbone alone",
            ("parameter-not-in-optimizer",),
            lambda: make_task("backbone alone"),
        ),
        Fault("pixels as they are", ("input-not-normalised",), lambda: make_task(scale=False)),
        Fault("softmax in the new head", ("double-softmax",), lambda: make_task("softmax")),
        Fault("head of zeros", ("symmetric-init", "dead-units"), lambda: make_task("zero hidden")),
    ),
    config={"batch_size": 50},
)
