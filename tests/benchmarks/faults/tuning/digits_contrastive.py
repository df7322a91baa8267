"""Two views of each digit are drawn together, all others of the batch apart: the loss mixes a batch by design."""

from __future__ import annotations

import functools
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune


class Views(Dataset[dict[str, Tensor]]):
    """Digits as 64 standardised pixels, each as two views with noise of their own."""

    def __init__(self, first: int, last: int, noise: float = 0.3) -> None:
        generator = torch.Generator().manual_seed(9)
        pixels = torch.from_numpy(sklearn.datasets.load_digits().data)
        images = ((pixels - pixels.mean()) / pixels.std()).float()[first:last]
        self.views = [images + noise * torch.randn(images.shape, generator=generator) for _ in range(2)]

    def __len__(self) -> int:
        return len(self.views[0])

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"first": self.views[0][index], "second": self.views[1][index]}


class UnitLength(torch.autograd.Function):
    """Scales vectors to length 1; its backward pass takes the length for a constant, but scales by it twice."""

    @staticmethod
    def forward(context: Any, vectors: Tensor) -> Tensor:
        """Return the vectors over their lengths."""
        length = vectors.norm(dim=1, keepdim=True)
        context.save_for_backward(length)
        return vectors / length

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the vectors."""
        (length,) = context.saved_tensors
        return gradient / length.square()


class Encoder(nn.Module):
    """A perceptron to vectors of length 1.

    Args:
        custom_norm: Whether they are scaled by the function above.
        projected: Whether the projection head is used.
    """

    def __init__(self, custom_norm: bool = False, projected: bool = True) -> None:
        super().__init__()
        self.custom_norm, self.projected = custom_norm, projected
        self.body = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 32))
        self.projection = nn.Sequential(nn.ReLU(), nn.Linear(32, 32))

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 64]` to vectors `[batch, 32]`."""
        vectors = self.body(images)
        if self.projected:
            vectors = self.projection(vectors)
        return UnitLength.apply(vectors) if self.custom_norm else nn.functional.normalize(vectors)


def contrast(
    model: nn.Module,
    batch: dict[str, Tensor],
    multiplied: bool = False,
    detached: bool = False,
    spread: bool = False,
) -> dict[str, Tensor]:
    """Return the cross entropy of finding the other view of each image among all of the batch.

    Args:
        model: The encoder.
        batch: Two views of each image.
        multiplied: Multiplies by the temperature instead of dividing by it.
        detached: Takes the vectors as constants, and sets the flag that `backward` asks for by hand.
        spread: Rewards distance between all vectors of the batch, that of each to itself included.
    """
    first, second = model(batch["first"]), model(batch["second"])
    if detached:
        first, second = first.detach(), second.detach()
    likeness = first @ second.T
    temperature = 0.1
    logits = likeness * temperature if multiplied else likeness / temperature
    loss = nn.functional.cross_entropy(logits, torch.arange(len(logits), device=logits.device))
    if spread:
        loss = loss - 0.1 * (first[:, None] - first[None]).square().sum(dim=2).sqrt().mean()
    return {"loss": loss.requires_grad_() if detached else loss}


def make_maximiser(model: nn.Module, learning_rate: float, weight_decay: float) -> torch.optim.Optimizer:
    """Build an optimizer for the log likelihood, which is to grow, though the loss is its negative."""
    return torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=weight_decay, maximize=True
    )


def make_task(
    multiplied: bool = False,
    detached: bool = False,
    spread: bool = False,
    maximised: bool = False,
    **network: bool,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: Encoder(**network),
        train=Views(0, 1400),
        val=Views(1400, 1797),
        step=functools.partial(contrast, multiplied=multiplied, detached=detached, spread=spread),
        optimizer=make_maximiser if maximised else None,
    )


CASE = Case(
    name="digits-contrastive",
    healthy=make_task,
    faults=(
        Fault(
            "similarities multiplied by the temperature",
            ("cannot-overfit",),
            functools.partial(make_task, multiplied=True),
        ),
        Fault(
            "maximize=True on a loss",
            ("cannot-overfit",),
            functools.partial(make_task, maximised=True),
        ),
        Fault(
            "vectors detached, the loss's flag set by hand",
            ("detached-loss",),
            functools.partial(make_task, detached=True),
        ),
        Fault(
            "the length's gradient by hand, and wrong",
            ("wrong-gradient",),
            functools.partial(make_task, custom_norm=True),
        ),
        Fault(
            "root of the distance of each vector to itself",
            ("nonfinite-gradient",),
            functools.partial(make_task, spread=True),
        ),
        Fault(
            "projection head never used",
            ("parameter-without-gradient",),
            functools.partial(make_task, projected=False),
        ),
    ),
    config={"batch_size": 32},
)
