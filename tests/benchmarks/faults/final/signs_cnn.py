"""A convolutional net with batch normalisation and an activation of its own, for traffic signs drawn as bytes."""

from __future__ import annotations

import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

SIGNS = 5
SIZE = 24


def draw_signs(signs: int) -> tuple[Tensor, Tensor]:
    """Draw photographs `[signs, 24, 24, 3]` of bytes and which sign each shows."""
    generator = torch.Generator().manual_seed(31)
    kinds = torch.randint(SIGNS, (signs,), generator=generator)
    rows = torch.arange(SIZE).view(-1, 1) - SIZE / 2 + 0.5
    columns = torch.arange(SIZE).view(1, -1) - SIZE / 2 + 0.5
    photographs = torch.empty(signs, SIZE, SIZE, 3)
    for index, kind in enumerate(kinds.tolist()):
        y = rows - 3 * torch.randn((), generator=generator)
        x = columns - 3 * torch.randn((), generator=generator)
        distance = (x * x + y * y).sqrt()
        shape = (
            distance < 6,
            (distance < 8) & (distance > 5),
            (x.abs() < 6) & (y.abs() < 6),
            (y > -6) & (y < 6) & (2 * x.abs() < y + 6),
            (x.abs() < 2) & (y.abs() < 8) | (y.abs() < 2) & (x.abs() < 8),
        )[kind]
        ground, paint = 120 * torch.rand(2, 3, generator=generator)
        photographs[index] = torch.where(shape.unsqueeze(-1), paint + 130, ground)
    photographs += 12 * torch.randn(photographs.shape, generator=generator)
    return photographs.clamp(0, 255).to(torch.uint8), kinds


class Photographs(Dataset[tuple[Tensor, int]]):
    """Photographs made ready one by one; `to_unit` is left out by a bug."""

    def __init__(self, photographs: Tensor, kinds: Tensor, to_unit: bool) -> None:
        self.photographs, self.kinds, self.to_unit = photographs, kinds, to_unit

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.kinds)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """Return a standardised image `[3, 24, 24]` and its sign."""
        image = self.photographs[index].permute(2, 0, 1).float()
        if self.to_unit:
            image = image / 255
        return (image - 0.5) / 0.5, int(self.kinds[index])


class HardSwish(torch.autograd.Function):
    """`x * clip(x + 3, 0, 6) / 6` with its derivative by hand."""

    @staticmethod
    def forward(context: Any, x: Tensor, wrong: bool) -> Tensor:
        """Compute the activation."""
        context.save_for_backward(x)
        context.wrong = wrong
        return x * (x + 3).clamp(0, 6) / 6

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Multiply by the derivative; the wrong one forgets the second term of the product's rule."""
        (x,) = context.saved_tensors
        inner = (x + 3).clamp(0, 6) / 6
        if not context.wrong:
            inner = inner + torch.where(x.abs() < 3, x / 6, torch.zeros_like(x))
        return gradient * inner, None


class SignNet(nn.Module):
    """Three convolutions, each with batch norm; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        momentum = 0.0 if bug == "momentum" else 0.1
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(before, 16, 3, padding=1, bias=False) for before in (3, 16, 16)]
        )
        norms = [nn.BatchNorm2d(16, momentum=momentum) for _ in range(3)]
        self.norms = nn.ModuleList([norms[0]] * 3 if bug == "one norm" else norms)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(36 if bug == "flattened" else 16 * 9, SIGNS)
        if bug == "frozen":
            for parameter in [*self.convolutions.parameters(), *self.norms.parameters()]:
                parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 3, 24, 24]` to logits `[batch, signs]`."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.pool(HardSwish.apply(norm(convolution(x)), self.bug == "derivative"))
        return self.head(x.view(-1, 36) if self.bug == "flattened" else x.flatten(1))


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    photographs, kinds = draw_signs(700)
    train = Photographs(photographs[:600], kinds[:600], to_unit=bug != "bytes")
    val = Photographs(photographs[600:], kinds[600:], to_unit=bug != "bytes")
    generator = torch.Generator().manual_seed(1)
    return lrtune.Task(
        model=lambda: SignNet(bug),
        train=DataLoader(train, batch_size=50, shuffle=True, generator=generator),
        val=DataLoader(val, batch_size=50),
        loss=nn.CrossEntropyLoss(),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="signs-cnn",
    healthy=make_task,
    faults=(
        fault("batch norm with momentum=0.0, so that nothing is remembered", "momentum", "train-eval-gap"),
        fault("one batch norm object after all three convolutions", "one norm", "train-eval-gap"),
        fault("view(-1, 36) makes four rows of each image", "flattened", "target-shape-mismatch"),
        fault("normalised as pixels from 0 to 1, which go to 255", "bytes", "input-not-normalised"),
        fault("an activation's derivative without the second term", "derivative", "wrong-gradient"),
        fault("layers frozen as in the fine-tuning script, but never trained", "frozen", "frozen-model"),
    ),
)
