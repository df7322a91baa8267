"""A network trained on digits on their side learns inverted noisy ones: the head at ten times the rate, by SGD."""

from __future__ import annotations

import functools

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import Tensor, nn

import lrtune


def _backbone() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 12, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 2 * 2, 64),
        nn.ReLU(),
    )


@functools.cache
def _trained_backbone() -> dict[str, Tensor]:
    split = standardise_pixels(load_digits(seed=30))
    images = split.inputs.transpose(2, 3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(30)
        backbone = _backbone()
        model = nn.Sequential(backbone, nn.Linear(64, 10))
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images), split.targets).backward()
            optimizer.step()
    return backbone.state_dict()


def _model() -> nn.Module:
    backbone = _backbone()
    backbone.load_state_dict(_trained_backbone())
    return nn.Sequential(backbone, nn.Linear(64, 10))


def _optimizer(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    backbone, head = model
    groups = [{"params": backbone.parameters()}, {"params": head.parameters(), "lr": 10 * lr}]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, weight_decay=weight_decay)


def _task() -> lrtune.Task:
    draw = torch.Generator().manual_seed(31)
    split = standardise_pixels(load_digits(copies=2, seed=31))
    inverted = split._replace(
        inputs=0.5 * torch.randn(split.inputs.shape, generator=draw) - split.inputs,
        val_inputs=0.5 * torch.randn(split.val_inputs.shape, generator=draw) - split.val_inputs,
    )
    train, val = inverted.datasets()
    return lrtune.Task(
        model=_model,
        train=train,
        val=val,
        loss=nn.functional.cross_entropy,
        optimizer=_optimizer,
        pretrained=True,
    )


CASE = Case(
    name="finetuned-cnn",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 3}},
    guess=0.1,
)
