"""A residual network with downsampling, batch normalisation and gammas that start at zero; smoothed labels."""

from __future__ import annotations

import copy
from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune


class _Block(nn.Module):
    def __init__(
        self, inputs: int, outputs: int, stride: int, momentum: float, pooled_shortcut: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs, momentum=momentum)
        self.pooled_shortcut = pooled_shortcut
        self.stride = stride
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False),
                nn.BatchNorm2d(outputs, momentum=momentum),
            )

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.pooled_shortcut:
            short = functional.avg_pool2d(x, self.stride)
            return functional.relu(y + functional.pad(short, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1])))
        return functional.relu(y + self.shortcut(x))


class _ResNet(nn.Module):
    def __init__(
        self, momentum: float = 0.1, pooled_shortcut: bool = False, unit_axis: int | None = None
    ) -> None:
        super().__init__()
        self.unit_axis = unit_axis
        block = partial(_Block, momentum=momentum, pooled_shortcut=pooled_shortcut)
        self.stem = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12, momentum=momentum), nn.ReLU()
        )
        self.stages = nn.Sequential(
            block(12, 12, 1), block(12, 24, 2), block(24, 24, 1), block(24, 48, 2), block(48, 48, 1)
        )
        self.fc = nn.Linear(48, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, _Block):
                nn.init.zeros_(module.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        features = self.stages(self.stem(x)).mean(dim=(2, 3))
        if self.unit_axis is not None:
            features = functional.normalize(features, dim=self.unit_axis) * 4
        return self.fc(features)


def _optimizer(
    model: nn.Module, lr: float, weight_decay: float, of_copy: bool = False
) -> torch.optim.Optimizer:
    # The network in training is wrapped and moved about; the optimizer is given what was built.
    owner = copy.deepcopy(model) if of_copy else model
    matrices = [p for p in owner.parameters() if p.ndim > 1]
    vectors = [p for p in owner.parameters() if p.ndim <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=lr, momentum=0.9, nesterov=True)


def _task(of_copy: bool = False, **network: float | bool | None) -> lrtune.Task:
    bunch = sklearn.datasets.load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1)
    images = (images - images.mean()) / images.std()
    labels = torch.tensor(bunch.target)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
    train, val = order[:1000], order[1000:1400]
    return lrtune.Task(
        model=lambda: _ResNet(**network),
        train=TensorDataset(images[train], labels[train]),
        val=TensorDataset(images[val], labels[val]),
        loss=nn.CrossEntropyLoss(label_smoothing=0.1),
        optimizer=partial(_optimizer, of_copy=of_copy),
    )


CASE = Case(
    name="digits-resnet",
    healthy=_task,
    faults=(
        Fault("features normalised over the batch axis", ("batch-mixing",), partial(_task, unit_axis=0)),
        Fault(
            "projections of the shortcuts are built and bypassed",
            ("parameter-without-gradient",),
            partial(_task, pooled_shortcut=True),
        ),
        Fault("running statistics never move: momentum 0", ("train-eval-gap",), partial(_task, momentum=0.0)),
        Fault(
            "the optimizer holds the parameters of a copy",
            ("optimizer-does-not-step", "parameter-not-in-optimizer"),
            partial(_task, of_copy=True),
        ),
    ),
    config={"batch_size": 32},
)
