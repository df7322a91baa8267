"""A plain network of convolutions and batch normalisation with class weights; its logits lie around a constant."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES = 5


def _patches(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw colour images `[count, 3, 12, 12]` of noise filtered by a kernel of the class, in unequal shares."""
    draw = torch.Generator().manual_seed(seed)
    kernels = torch.randn(CLASSES, 3, 3, 3, generator=torch.Generator().manual_seed(99))
    kernels = kernels / kernels.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    shares = torch.tensor([0.3, 0.25, 0.2, 0.15, 0.1])
    label = torch.multinomial(shares, count, replacement=True, generator=draw)
    noise = torch.randn(count, 1, 14, 14, generator=draw)
    images = torch.stack(
        [functional.conv2d(one, kernels[kind].unsqueeze(1)) for one, kind in zip(noise, label, strict=True)]
    )
    images = images + 0.3 * torch.randn(images.shape, generator=draw)
    return (images - images.mean(dim=(0, 2, 3), keepdim=True)) / images.std(
        dim=(0, 2, 3), keepdim=True
    ), label


def _root(x: Tensor) -> Tensor:
    """Compress what is positive."""
    return torch.where(x > 0, x.sqrt(), torch.zeros_like(x))


class _ClippedReLU(torch.autograd.Function):
    """min(max(x, 0), 6), whose gradient forgets the lower end."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(0, 6)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x < 6)


class _CNN(nn.Module):
    def __init__(
        self,
        bias: float = 0.0,
        activation: Callable[[Tensor], Tensor] = functional.relu,
        bounded: bool = False,
    ) -> None:
        super().__init__()
        self.activation, self.bounded = activation, bounded
        self.convs = nn.ModuleList(nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 16), (16, 24), (24, 32)))
        self.norms = nn.ModuleList(nn.BatchNorm2d(conv.out_channels) for conv in self.convs)
        self.fc = nn.Linear(32, CLASSES)
        for norm in self.norms:
            nn.init.constant_(norm.bias, bias)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = self.activation(norm(conv(x)))
            x = functional.max_pool2d(x, 2) if x.shape[-1] > 3 else x
        logits = self.fc(x.amax(dim=(2, 3)))
        # Scores around 20, as the service that reads them expects; softmax takes the constant out.
        return torch.tanh(logits) if self.bounded else logits + 20


def _task(integer_rate: bool = False, beta: float | None = None, **network: object) -> lrtune.Task:
    x, y = _patches(900, 1)
    val_x, val_y = _patches(200, 2)
    counts = torch.bincount(y, minlength=CLASSES).float()
    weights = counts.sum() / (CLASSES * counts)
    if beta is not None:
        weights = (1 - beta) / (1 - beta**counts)
    return lrtune.Task(
        model=lambda: _CNN(**network),
        train=DataLoader(
            TensorDataset(x, y), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0)
        ),
        val=DataLoader(TensorDataset(val_x, val_y), batch_size=100),
        loss=nn.CrossEntropyLoss(weight=weights),
        optimizer=_integer_rate if integer_rate else _sgd,
    )


def _sgd(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


def _integer_rate(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    # The linear scaling rule for a batch of 32, written with an integer division.
    return torch.optim.SGD(model.parameters(), lr=lr * (32 // 256), momentum=0.9, weight_decay=weight_decay)


CASE = Case(
    name="textures-cnn",
    healthy=_task,
    faults=(
        Fault("normalisation starts with biases of -4", ("dead-units",), partial(_task, bias=-4.0)),
        Fault(
            "square roots of negative numbers, hidden by torch.where",
            ("nonfinite-gradient",),
            partial(_task, activation=_root),
        ),
        Fault(
            "a clipped ReLU whose gradient passes below 0",
            ("wrong-gradient",),
            partial(_task, activation=_ClippedReLU.apply),
        ),
        Fault(
            "tanh on the logits: no class gets a chance above two thirds",
            ("cannot-overfit",),
            partial(_task, bounded=True),
        ),
        Fault(
            "scaling rule by an integer division: rate 0",
            ("optimizer-does-not-step",),
            partial(_task, integer_rate=True),
        ),
        Fault(
            "class weights by effective numbers with beta 1: 0/0",
            ("nonfinite-loss",),
            partial(_task, beta=1.0),
        ),
    ),
)
