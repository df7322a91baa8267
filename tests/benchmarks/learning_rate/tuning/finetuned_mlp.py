"""A perceptron trained on the digits 0 to 4 learns 5 to 9: a new head at ten times the rate of the rest, by Adam."""

from __future__ import annotations

import functools

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_digits, standardise_pixels
from torch import Tensor, nn

import lrtune


def _backbone() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 48), nn.ReLU())


def _half(upper: bool) -> Split:
    """Return the digits 5 to 9 or 0 to 4, their classes counted from 0."""
    whole = standardise_pixels(load_digits(copies=3, seed=7))
    train, val = (whole.targets >= 5) == upper, (whole.val_targets >= 5) == upper
    first = 5 if upper else 0
    return Split(
        whole.inputs[train],
        whole.targets[train] - first,
        whole.val_inputs[val],
        whole.val_targets[val] - first,
    )


@functools.cache
def _trained_backbone() -> dict[str, Tensor]:
    split = _half(upper=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        backbone = _backbone()
        model = nn.Sequential(backbone, nn.Linear(48, 5))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(split.inputs), split.targets).backward()
            optimizer.step()
    return backbone.state_dict()


def _model() -> nn.Module:
    backbone = _backbone()
    backbone.load_state_dict(_trained_backbone())
    return nn.Sequential(backbone, nn.Linear(48, 5))


def _optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    backbone, head = model
    groups = [{"params": backbone.parameters()}, {"params": head.parameters(), "lr": 10 * lr}]
    return torch.optim.Adam(groups, lr=lr, weight_decay=weight_decay)


def _task() -> lrtune.Task:
    train, val = _half(upper=True).datasets()
    return lrtune.Task(
        model=_model,
        train=train,
        val=val,
        loss=nn.functional.cross_entropy,
        optimizer=_optimizer,
        pretrained=True,
    )


CASE = Case(
    name="finetuned-mlp",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "adam"}, "coarse": {"epochs": 2}},
    guess=1e-3,
)
