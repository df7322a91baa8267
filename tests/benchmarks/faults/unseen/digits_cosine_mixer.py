"""Digits by an MLP-mixer with a cosine head, label smoothing and mixup."""

from __future__ import annotations

import functools
import math
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

PATCHES, PIXELS = 16, 4


def make_digits(first: int, last: int, dtype: torch.dtype = torch.long) -> TensorDataset:
    """Load digits as 16 patches of 2x2 standardised pixels, with their classes."""
    bunch = sklearn.datasets.load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32)
    images = (images - images.mean()) / images.std()
    patches = images.unfold(1, 2, 2).unfold(2, 2, 2).reshape(-1, PATCHES, PIXELS)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(71))[first:last]
    return TensorDataset(patches[order], torch.tensor(bunch.target, dtype=dtype)[order])


class FastGELU(torch.autograd.Function):
    """`x * sigmoid(1.702 x)` that keeps only its input; the backward pass forgets the chain."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        """Return the activated features."""
        context.save_for_backward(x)
        return x * torch.sigmoid(1.702 * x)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        """Return the gradient of the features."""
        (x,) = context.saved_tensors
        gate = torch.sigmoid(1.702 * x)
        return gate + 1.702 * x * gate * (1 - gate)


class Perceptron(nn.Module):
    """Two layers.

    Args:
        features: Of the input and the output.
        hidden: Units between.
        dropout: The share of features dropped.
        custom: Whether the activation is the one above.
    """

    def __init__(self, features: int, hidden: int, dropout: float, custom: bool) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(features, hidden), nn.Linear(hidden, features)
        self.dropout, self.custom = nn.Dropout(dropout), custom

    def forward(self, x: Tensor) -> Tensor:
        """Map features to features of the same shape."""
        x = self.up(x)
        x = FastGELU.apply(x) if self.custom else nn.functional.gelu(x)
        return self.dropout(self.down(x))


class MixerBlock(nn.Module):
    """Mixes the patches and then the channels, both residual."""

    def __init__(self, width: int, **perceptron: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.patches = Perceptron(PATCHES, 2 * PATCHES, **perceptron)
        self.channels = Perceptron(width, 2 * width, **perceptron)

    def forward(self, x: Tensor) -> Tensor:
        """Map patches `[batch, patches, width]` to patches of the same shape."""
        x = x + self.patches(self.norm1(x).transpose(1, 2)).transpose(1, 2)
        return x + self.channels(self.norm2(x))


class CosineMixer(nn.Module):
    """A mixer whose logits are scaled cosines between the image's features and those of the classes.

    Args:
        width: Channels of a patch.
        normalise_dim: Along which the image's features are scaled to length 1.
        scaled: Whether the cosines are multiplied by a learnt scale.
        constant: Whether all layers start at the same small weight.
        dropout: The share of features dropped.
        custom: Whether the activation has a backward pass of its own.
    """

    def __init__(
        self,
        width: int = 40,
        normalise_dim: int = 1,
        scaled: bool = True,
        constant: bool = False,
        dropout: float = 0.1,
        custom: bool = False,
    ) -> None:
        super().__init__()
        self.normalise_dim = normalise_dim
        self.embed = nn.Linear(PIXELS, width)
        self.blocks = nn.Sequential(*(MixerBlock(width, dropout=dropout, custom=custom) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.classes = nn.Parameter(torch.randn(10, width))
        self.log_scale = nn.Parameter(torch.tensor(math.log(5.0))) if scaled else 0.0
        if constant:
            for module in self.modules():
                if isinstance(module, nn.Linear):
                    nn.init.constant_(module.weight, 0.02)
                    nn.init.zeros_(module.bias)

    def forward(self, patches: Tensor) -> Tensor:
        """Map patches `[batch, patches, pixels]` to logits `[batch, 10]`."""
        x = self.norm(self.blocks(self.embed(patches))).mean(dim=1)
        x = nn.functional.normalize(x, dim=self.normalise_dim)
        cosines = x @ nn.functional.normalize(self.classes, dim=1).T
        return cosines * math.e**self.log_scale


def mixup_step(model: nn.Module, batch: tuple[Tensor, Tensor], same_order: bool = True) -> dict[str, Tensor]:
    """Score a batch; in training, of images mixed with other images."""
    images, classes = batch
    criterion = functools.partial(nn.functional.cross_entropy, label_smoothing=0.05)
    if not model.training:
        logits = model(images)
        return {"loss": criterion(logits, classes), "output": logits, "target": classes}
    share = torch.distributions.Beta(0.2, 0.2).sample().item()
    order = torch.randperm(len(images))
    logits = model(share * images + (1 - share) * images[order])
    if not same_order:
        order = torch.randperm(len(images))
    loss = share * criterion(logits, classes) + (1 - share) * criterion(logits, classes[order])
    return {"loss": loss, "output": logits, "target": classes}


def make_task(same_order: bool = True, dtype: torch.dtype = torch.long, **network: Any) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: CosineMixer(**network),
        train=make_digits(0, 1400, dtype),
        val=make_digits(1400, 1797, dtype),
        step=functools.partial(mixup_step, same_order=same_order),
    )


CASE = Case(
    name="digits-cosine-mixer",
    healthy=make_task,
    faults=(
        Fault(
            "features scaled to length 1 over the batch",
            ("batch-mixing",),
            functools.partial(make_task, normalise_dim=0),
        ),
        Fault(
            "classes read as floating-point numbers",
            ("target-dtype",),
            functools.partial(make_task, dtype=torch.float32),
        ),
        Fault(
            "images mixed in one order and their classes in another",
            ("cannot-overfit",),
            functools.partial(make_task, same_order=False),
        ),
        Fault(
            "an activation by hand that does not multiply by the gradient from above",
            ("wrong-gradient",),
            functools.partial(make_task, custom=True),
        ),
        Fault(
            "all layers start at the constant 0.02",
            ("symmetric-init",),
            functools.partial(make_task, constant=True),
        ),
        Fault(
            "the share to keep given to dropout as the share to drop",
            ("train-eval-gap",),
            functools.partial(make_task, dropout=0.9),
        ),
        Fault(
            "cosines as logits without a scale",
            ("cannot-overfit",),
            functools.partial(make_task, scaled=False),
        ),
    ),
)
