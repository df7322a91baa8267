"""Transfer: a backbone trained on the digits 0 to 4 is frozen, its last block thawed, and 5 to 9 are learnt on it."""

from __future__ import annotations

import copy
import functools
from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.early = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.late = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32), nn.ReLU())
        self.fc = nn.Linear(32 * 16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.late(self.early(x)).flatten(1))


def _digits(classes: range, raw: bool) -> tuple[Tensor, Tensor]:
    bunch = sklearn.datasets.load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1)
    labels = torch.tensor(bunch.target)
    keep = (labels >= classes.start) & (labels < classes.stop)
    images = images[keep] * (255 / 16) if raw else (images[keep] - 4.88) / 6.02
    return images, labels[keep] - classes.start


@functools.cache
def _trained() -> _Backbone:
    """Train on the lower digits; once a process, always to the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = _Backbone().train()
        images, labels = _digits(range(5), raw=False)
        optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3)
        for rows in torch.randperm(len(images)).split(64) * 2:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(images[rows]), labels[rows]).backward()
            optimizer.step()
    return net.eval()


def _finetuned(freeze: str = "early") -> nn.Module:
    net = copy.deepcopy(_trained()).train()
    net.fc = nn.Linear(net.fc.in_features, 5)
    for name, parameter in net.named_parameters():
        parameter.requires_grad = not (freeze == "all" or name.startswith("early"))
    return net


def _optimizer(
    model: nn.Module, lr: float, weight_decay: float, groups: str = "both"
) -> torch.optim.Optimizer:
    late = {"params": list(model.late.parameters()), "lr": 0.1 * lr}
    head = {"params": list(model.fc.parameters())}
    if groups == "late only":
        return torch.optim.AdamW([late], lr=lr, weight_decay=weight_decay)
    optimizer = torch.optim.AdamW([late, head], lr=lr, weight_decay=weight_decay)
    if groups == "with warm-up":
        # Sets the rate to that of step 0, and nothing ever steps the schedule.
        torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, step / 100))
    return optimizer


def _everything(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay)


def _task(freeze: str = "early", raw: bool = False, groups: str = "both") -> lrtune.Task:
    images, labels = _digits(range(5, 10), raw)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(2))
    images, labels = images[order], labels[order]
    return lrtune.Task(
        model=partial(_finetuned, freeze),
        train=TensorDataset(images[:700], labels[:700]),
        val=TensorDataset(images[700:], labels[700:]),
        loss=nn.CrossEntropyLoss(),
        optimizer=_everything if freeze == "all" else partial(_optimizer, groups=groups),
        pretrained=True,
    )


CASE = Case(
    name="finetuned-digits",
    healthy=_task,
    faults=(
        Fault(
            "frozen after the head was replaced: all of it", ("frozen-model",), partial(_task, freeze="all")
        ),
        Fault(
            "pixels of 0 to 255 for a standardised backbone",
            ("input-not-normalised",),
            partial(_task, raw=True),
        ),
        Fault(
            "the optimizer never gets the new head",
            ("parameter-not-in-optimizer",),
            partial(_task, groups="late only"),
        ),
        Fault(
            "a warm-up that starts at 0 and is never stepped",
            ("optimizer-does-not-step",),
            partial(_task, groups="with warm-up"),
        ),
    ),
    config={"batch_size": 32},
)
