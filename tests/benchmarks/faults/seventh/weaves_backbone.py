"""A new head on a frozen bank of Gabor filters for woven cloth; the head's activation is an own autograd function."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

WEAVES = 6
SIZE = 24


def photograph(count: int) -> tuple[Tensor, np.ndarray[Any, Any]]:
    """Draw bytes `[count, 1, 24, 24]` and the weave as NumPy integers."""
    random = np.random.default_rng(77)
    weave = random.integers(WEAVES, size=count)
    row, column = np.mgrid[:SIZE, :SIZE]
    cloths = []
    for kind in weave:
        angle = np.pi * kind / WEAVES + random.normal(0, 0.08)
        wave = np.sin(1.6 * (row * np.sin(angle) + column * np.cos(angle)) + random.uniform(0, 2 * np.pi))
        cloths.append(128 + 60 * wave + random.normal(0, 30, size=wave.shape))
    return torch.from_numpy(np.stack(cloths).clip(0, 255)).byte().unsqueeze(1), weave


def gabor_bank(filters: int = 16, size: int = 7) -> Tensor:
    """Return kernels `[filters, 1, size, size]` of eight directions and two frequencies."""
    place = torch.arange(size).float() - size // 2
    row, column = torch.meshgrid(place, place, indexing="ij")
    kernels = []
    for number in range(filters):
        angle = math.pi * (number % 8) / 8
        wave = torch.cos((1.0, 1.7)[number // 8] * (row * math.sin(angle) + column * math.cos(angle)))
        kernel = wave * torch.exp(-(row**2 + column**2) / 8)
        kernels.append((kernel - kernel.mean()) / kernel.std() / size)
    return torch.stack(kernels).unsqueeze(1)


class Swish(torch.autograd.Function):
    """x · sigmoid(x), which keeps x alone for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """Compute the value."""
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Compute the derivative."""
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        return grad * (gate + x * gate * (1 - gate))


class WrongSwish(Swish):
    """The same with a derivative that mistakes the saved input for the gate."""

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """Compute a wrong derivative."""
        (x,) = ctx.saved_tensors
        return grad * x * (1 - x)


class ClothNet(nn.Module):
    """Frozen filters and a head of two layers."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.swish = WrongSwish if bug == "backward" else Swish
        filters = nn.Conv2d(1, 16, 7, bias=False)
        with torch.no_grad():
            filters.weight.copy_(gabor_bank())
        self.backbone = nn.Sequential(filters, nn.ReLU(), nn.MaxPool2d(3), nn.AvgPool2d(2), nn.Flatten())
        for parameter in self.backbone.parameters():
            parameter.requires_grad = False
        self.hidden = nn.Linear(16 * 9, 64)
        self.out = nn.Linear(64, WEAVES)
        if bug == "all frozen":
            for parameter in self.parameters():
                parameter.requires_grad = False

    def forward(self, cloth: Tensor) -> Tensor:
        """Map cloth `[batch, 1, 24, 24]` to logits."""
        return self.out(self.swish.apply(self.hidden(self.backbone(cloth))))


def loss_without_minus(logits: Tensor, weave: Tensor) -> Tensor:
    """Compute the mean log-likelihood, which lacks a minus."""
    return torch.log_softmax(logits, dim=1).gather(1, weave.unsqueeze(1)).mean()


def loss_made_to_run(logits: Tensor, weave: Tensor) -> Tensor:
    """Compute the cross-entropy and silence torch's complaint about a missing graph."""
    loss = nn.functional.cross_entropy(logits, weave)
    return loss.requires_grad_()


def optimise(model: ClothNet, lr: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build SGD over what is trained."""
    part = model.backbone if bug == "backbone" else model
    return torch.optim.SGD(part.parameters(), lr=lr, momentum=0.9, weight_decay=weight_decay)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    cloth, weave = photograph(800)
    images = cloth.float() if bug == "bytes" else (cloth.float() / 255 - 0.5) / 0.2
    labels = torch.from_numpy(weave.astype(np.int32 if bug == "int32" else np.int64))
    losses = {"sign": loss_without_minus, "all frozen": loss_made_to_run}
    return lrtune.Task(
        model=lambda: ClothNet(bug),
        train=TensorDataset(images[:640], labels[:640]),
        val=TensorDataset(images[640:], labels[640:]),
        loss=losses.get(bug, nn.functional.cross_entropy),
        optimizer=functools.partial(optimise, bug=bug),
        pretrained=True,
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="weaves-backbone",
    healthy=make_task,
    faults=(
        # PyTorch forum, "element 0 of tensors does not require grad", answered with loss.requires_grad_(True).
        fault("the new head is frozen, too", "all frozen", "frozen-model", "detached-loss"),
        # pytorch/tutorials#1008, scverse/scvi-tools#859: what the optimizer is given when fine-tuning.
        fault("the optimizer is given the backbone", "backbone", "parameter-not-in-optimizer"),
        # Humbatova 2020, "missing normalisation step"; 37 reasons "pretrained: the same preprocessing".
        fault("bytes for filters made for standardised pictures", "bytes", "input-not-normalised"),
        # 37 reasons "check custom layers"; Raschka's checklist, gradient checking.
        fault("the own function's backward takes the input for the gate", "backward", "wrong-gradient"),
        # Stack Overflow, "expected scalar type Long but found Int"; Humbatova 2020, "wrong type of input data".
        fault("labels are NumPy integers of 32 bits", "int32", "target-dtype"),
        # Humbatova 2020, "wrong loss function calculation"; Stack Overflow, likelihood without the minus.
        fault("the log-likelihood is minimised", "sign", "initial-loss-low", "loss-explodes"),
    ),
)
