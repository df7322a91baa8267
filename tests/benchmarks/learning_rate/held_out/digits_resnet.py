"""A small residual network with batch normalisation that classifies shifted digits, by SGD with momentum."""

from __future__ import annotations

from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits, standardise_pixels
from torch import Tensor, nn
from torch.nn import functional

import lrtune


def _convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs))


class _Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first, self.second = _convolution(inputs, outputs, stride), _convolution(outputs, outputs)
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(inputs, outputs, 1, stride, bias=False)
        nn.init.zeros_(self.second[1].weight)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.second(functional.relu(self.first(x))))


def _resnet() -> nn.Module:
    return nn.Sequential(
        _convolution(1, 8, stride=2),
        nn.ReLU(),
        _Block(8, 8, stride=1),
        _Block(8, 16, stride=2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(16, 10),
    )


def _task() -> lrtune.Task:
    train, val = standardise_pixels(load_digits(copies=2, seed=21)).datasets()
    return lrtune.Task(model=_resnet, train=train, val=val, loss=functional.cross_entropy)


CASE = Case(
    name="digits-resnet",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "sgd", "momentum": 0.9}, "coarse": {"epochs": 2}},
    guess=0.1,
)
