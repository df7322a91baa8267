"""Digits by depthwise separable convolutions with a group normalisation written by hand."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

MEAN, STD = 0.305, 0.376


class Digits(Dataset[tuple[Tensor, Tensor]]):
    """Images `[1, 8, 8]` and their classes.

    Args:
        first_class: What the smallest label is called.
        divide_again: Divides pixels by 255 that are already between 0 and 1.
    """

    def __init__(self, first_class: int = 0, divide_again: bool = False) -> None:
        pixels, classes = sklearn.datasets.load_digits(return_X_y=True)
        self.images = torch.tensor(pixels / 16, dtype=torch.float32).view(-1, 1, 8, 8)
        self.classes = torch.tensor(classes, dtype=torch.long) + first_class
        self.divide_again = divide_again

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image = self.images[index]
        if self.divide_again:
            image = image / 255
        return (image - MEAN) / STD, self.classes[index]


class GroupNorm(nn.Module):
    """Normalises groups of channels.

    Args:
        channels: Of the image.
        groups: Into which they are divided.
        forget_batch: Leaves the axis of the examples out of the grouped shape.
    """

    def __init__(self, channels: int, groups: int, forget_batch: bool) -> None:
        super().__init__()
        self.groups, self.forget_batch = groups, forget_batch
        self.scale = nn.Parameter(torch.ones(1, channels, 1, 1))
        self.shift = nn.Parameter(torch.zeros(1, channels, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Map `[batch, channels, height, width]` to the same shape."""
        shape = (self.groups, -1) if self.forget_batch else (len(images), self.groups, -1)
        grouped = images.reshape(shape)
        variance, mean = torch.var_mean(grouped, dim=-1, keepdim=True, unbiased=False)
        normal = ((grouped - mean) / torch.sqrt(variance + 1e-5)).view_as(images)
        return normal * self.scale + self.shift


class SeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution, added to their input.

    Args:
        channels: In and out.
        norm: Builds a normalisation of so many channels.
    """

    def __init__(self, channels: int, norm: functools.partial[GroupNorm]) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm1 = norm(channels)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm2 = norm(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Map `[batch, channels, height, width]` to the same shape."""
        hidden = nn.functional.silu(self.norm1(self.depthwise(images)))
        return images + nn.functional.silu(self.norm2(self.pointwise(hidden)))


class SeparableNet(nn.Module):
    """A stem, separable blocks and a head over the pooled image.

    Args:
        forget_batch: Passed to the normalisation.
        probabilities: Whether the output goes through a softmax.
        plain_list: Whether the blocks are kept in a Python list.
        constant_init: Whether all convolutions start with one and the same number.
    """

    def __init__(
        self,
        forget_batch: bool = False,
        probabilities: bool = False,
        plain_list: bool = False,
        constant_init: bool = False,
    ) -> None:
        super().__init__()
        norm = functools.partial(GroupNorm, groups=4, forget_batch=forget_batch)
        self.probabilities = probabilities
        self.stem = nn.Sequential(nn.Conv2d(1, 24, 3, padding=1, bias=False), norm(24), nn.SiLU())
        blocks = [SeparableBlock(24, norm) for _ in range(2)]
        self.blocks = blocks if plain_list else nn.ModuleList(blocks)
        self.pool = nn.AvgPool2d(2)
        self.head = nn.Linear(24 * 4 * 4, 10)
        if constant_init:
            for module in self.modules():
                if isinstance(module, nn.Conv2d):
                    nn.init.constant_(module.weight, 0.05)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to scores `[batch, 10]`."""
        hidden = self.stem(images)
        for block in self.blocks:
            hidden = block(hidden)
        scores = self.head(self.pool(hidden).flatten(1))
        return scores.softmax(dim=1) if self.probabilities else scores


def make_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, by_suffix: bool
) -> torch.optim.Optimizer:
    """Build AdamW that decays matrices and kernels only.

    Args:
        model: With the parameters.
        learning_rate: Of all of them.
        weight_decay: Of those that decay.
        by_suffix: Sorts by the names `weight` and `bias`, which the normalisation does not use.
    """
    named = list(model.named_parameters())
    if by_suffix:
        decayed = [parameter for name, parameter in named if name.endswith("weight")]
        others = [parameter for name, parameter in named if name.endswith("bias")]
    else:
        norms = ("scale", "shift", "bias")
        decayed = [parameter for name, parameter in named if not name.endswith(norms)]
        others = [parameter for name, parameter in named if name.endswith(norms)]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate)


def make_task(
    first_class: int = 0, divide_again: bool = False, by_suffix: bool = False, **net: bool
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        first_class: Argument of `Digits`.
        divide_again: Argument of `Digits`.
        by_suffix: Argument of `make_optimizer`.
        net: Arguments of `SeparableNet`.
    """
    return lrtune.Task(
        model=lambda: SeparableNet(**net),
        train=Digits(first_class, divide_again),
        loss=nn.CrossEntropyLoss(),
        optimizer=functools.partial(make_optimizer, by_suffix=by_suffix),
    )


CASE = Case(
    name="depthwise-digits",
    healthy=make_task,
    faults=(
        Fault(
            "labels from 1 to 10",
            ("target-out-of-range",),
            functools.partial(make_task, first_class=1),
        ),
        Fault(
            "group norm reshaped without the batch axis",
            ("batch-mixing",),
            functools.partial(make_task, forget_batch=True),
        ),
        Fault(
            "blocks in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, plain_list=True),
        ),
        Fault(
            "all kernels start at one constant",
            ("symmetric-init",),
            functools.partial(make_task, constant_init=True),
        ),
        Fault(
            "decay groups by name leave the norms out",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, by_suffix=True),
        ),
        Fault(
            "pixels in 0..1 divided by 255 again",
            ("input-not-normalised",),
            functools.partial(make_task, divide_again=True),
        ),
        Fault(
            "softmax before cross entropy",
            ("double-softmax",),
            functools.partial(make_task, probabilities=True),
        ),
    ),
    config={"batch_size": 32},
)
