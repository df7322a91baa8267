"""Metric learning: triplets of digits, a convolutional encoder, and SGD written by hand."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

MARGIN = 0.5
Triplet = tuple[Tensor, Tensor, Tensor]


class Triplets(Dataset[Triplet]):
    """An anchor, an image of its class (at times the anchor again) and an image of another one.

    Args:
        whole_pixels: Stores the scaled images as bytes.
    """

    def __init__(self, whole_pixels: bool) -> None:
        pixels, classes = sklearn.datasets.load_digits(return_X_y=True)
        scaled = pixels[:600] * 15 / 255  # bytes, as an image file has them, to 0..1
        if whole_pixels:
            scaled = scaled.astype(np.uint8)
        images = torch.from_numpy(scaled).float().view(-1, 1, 8, 8)
        self.images = images if whole_pixels else (images - images.mean()) / images.std()
        draw = np.random.default_rng(9)
        classes = classes[:600]
        self.positives = [int(draw.choice(np.flatnonzero(classes == label))) for label in classes]
        self.negatives = [int(draw.choice(np.flatnonzero(classes != label))) for label in classes]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Triplet:
        return self.images[index], self.images[self.positives[index]], self.images[self.negatives[index]]


class Encoder(nn.Module):
    """Maps images to points on a sphere.

    Args:
        sphere_axis: Along which the points are normalised.
        freeze_backbone: Trains the last layer alone, over convolutions that nobody trained.
    """

    def __init__(self, sphere_axis: int = 1, freeze_backbone: bool = False) -> None:
        super().__init__()
        self.sphere_axis = sphere_axis
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1),
            nn.ReLU(),
        )
        self.project = nn.Linear(32 * 4 * 4, 16)
        if freeze_backbone:
            for parameter in self.backbone.parameters():
                parameter.requires_grad = False

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to points `[batch, 16]`."""
        points = self.project(self.backbone(images).flatten(1))
        return nn.functional.normalize(points, dim=self.sphere_axis)


def paired(first: Tensor, second: Tensor) -> Tensor:
    """Return the distance of each point to its partner."""
    return torch.sqrt((first - second).pow(2).sum(dim=1) + 1e-6)


def paired_unguarded(first: Tensor, second: Tensor) -> Tensor:
    """Return the same, without a guard for equal points."""
    return torch.sqrt((first - second).pow(2).sum(dim=1))


class TripletStep:
    """The hinge of a batch of triplets.

    Args:
        distance: Of two sets of points.
        average: Whether the hinges are averaged.
    """

    def __init__(self, distance: Callable[[Tensor, Tensor], Tensor], average: bool) -> None:
        self.distance, self.average = distance, average

    def __call__(self, model: nn.Module, batch: Triplet) -> Tensor:
        """Return the loss."""
        anchor, positive, negative = (model(images) for images in batch)
        gap = self.distance(anchor, positive) - self.distance(anchor, negative)
        hinges = nn.functional.relu(gap + MARGIN)
        return hinges.mean() if self.average else hinges


class HandSGD(torch.optim.Optimizer):
    """Gradient descent with momentum.

    Args:
        parameters: To be trained.
        lr: Learning rate.
        weight_decay: Factor of the parameters in their gradients.
        rebind: Assigns the new value to the loop's own variable.
    """

    def __init__(
        self, parameters: list[nn.Parameter], lr: float, weight_decay: float, rebind: bool = False
    ) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.9})
        self.rebind = rebind

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """Update all parameters that have a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = parameter.grad + group["weight_decay"] * parameter
                velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                velocity.mul_(group["momentum"]).add_(gradient)
                if self.rebind:
                    parameter = parameter - group["lr"] * velocity
                else:
                    parameter.sub_(group["lr"] * velocity)


def make_sgd(model: nn.Module, learning_rate: float, weight_decay: float, rebind: bool) -> HandSGD:
    """Build the optimizer over the parameters that are trained."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return HandSGD(trained, learning_rate, weight_decay, rebind)


def make_task(
    whole_pixels: bool = False,
    distance: Callable[[Tensor, Tensor], Tensor] = paired,
    average: bool = True,
    rebind: bool = False,
    **encoder: bool | int,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        whole_pixels: Argument of `Triplets`.
        distance: Argument of `TripletStep`.
        average: Argument of `TripletStep`.
        rebind: Argument of `HandSGD`.
        encoder: Arguments of `Encoder`.
    """
    return lrtune.Task(
        model=lambda: Encoder(**encoder),
        train=Triplets(whole_pixels),
        step=TripletStep(distance, average),
        optimizer=functools.partial(make_sgd, rebind=rebind),
    )


CASE = Case(
    name="triplet-digits",
    healthy=make_task,
    faults=(
        Fault(
            "embeddings normalised over the batch",
            ("batch-mixing",),
            functools.partial(make_task, sphere_axis=0),
        ),
        Fault(
            "distances of all pairs instead of partners",
            ("batch-mixing", "cannot-overfit"),
            functools.partial(make_task, distance=torch.cdist),
        ),
        Fault(
            "square root of a distance that is 0",
            ("nonfinite-gradient",),
            functools.partial(make_task, distance=paired_unguarded),
        ),
        Fault(
            "own SGD assigns to its loop variable",
            ("optimizer-does-not-step",),
            functools.partial(make_task, rebind=True),
        ),
        Fault(
            "backbone frozen though nothing was loaded",
            ("frozen-model", "parameter-without-gradient"),
            functools.partial(make_task, freeze_backbone=True),
        ),
        Fault(
            "hinges not averaged",
            ("loss-not-scalar",),
            functools.partial(make_task, average=False),
        ),
        Fault(
            "pixels below 1 stored as bytes",
            ("constant-input",),
            functools.partial(make_task, whole_pixels=True),
        ),
    ),
    config={"batch_size": 50},
)
