"""Water, field or forest in every pixel of an aerial photograph, by a small U-Net."""

from __future__ import annotations

import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

CLASSES = 3
SIZE = 24
COLOURS = torch.tensor([[60.0, 90.0, 150.0], [150.0, 140.0, 80.0], [80.0, 120.0, 70.0]])


def make_photographs(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw photographs `[count, 3, size, size]` of bytes and the classes of their pixels."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randn(count, CLASSES, 5, 5, generator=generator)
    heights = nn.functional.interpolate(coarse, SIZE, mode="bicubic", align_corners=True)
    masks = heights.argmax(dim=1)
    light = 0.7 + 0.6 * torch.rand(count, 1, 1, 1, generator=generator)
    noise = 25 * torch.randn(count, 3, SIZE, SIZE, generator=generator)
    photographs = COLOURS[masks].permute(0, 3, 1, 2) * light + noise
    return photographs.clamp(0, 255).to(torch.uint8), masks


class LandCover(Dataset[tuple[Tensor, Tensor]]):
    """Photographs and the classes of their pixels.

    Args:
        count: Photographs.
        seed: Of the photographs.
        divisions: How often the bytes are divided by 255; twice is once too often.
        channel: Whether a mask keeps the channel of the image file that it came from.
        greys: Whether the classes stay the grey values 0, 127 and 255 of the image file.
    """

    mean, std = 0.42, 0.17

    def __init__(
        self,
        count: int,
        seed: int,
        divisions: int = 1,
        channel: bool = False,
        greys: bool = False,
    ) -> None:
        self.photographs, self.masks = make_photographs(count, seed)
        self.divisions, self.channel, self.greys = divisions, channel, greys

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, mask = self.photographs[index].float(), self.masks[index]
        for _ in range(self.divisions):
            image = image / 255
        if self.divisions == 1:
            image = (image - self.mean) / self.std
        if self.greys:
            mask = torch.tensor([0, 127, 255])[mask]
        return image, mask.unsqueeze(0) if self.channel else mask


def double_convolution(inputs: int, outputs: int) -> nn.Sequential:
    """Build two 3x3 convolutions with normalisation."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
        nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class UNet(nn.Module):
    """Two levels down and up again, with a copy of each level's features beside the upsampled ones.

    Args:
        width: Channels of the first level.
        bottom: Whether the lowest level's features are used on the way up.
        sigmoid: Whether the outputs go through a sigmoid.
        finetune: Whether everything but the classifier is to be frozen.
    """

    def __init__(
        self, width: int = 8, bottom: bool = True, sigmoid: bool = False, finetune: bool = False
    ) -> None:
        super().__init__()
        self.bottom, self.sigmoid = bottom, sigmoid
        self.down1 = double_convolution(3, width)
        self.down2 = double_convolution(width, 2 * width)
        self.down3 = double_convolution(2 * width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.up2 = double_convolution(4 * width, width)
        self.up1 = double_convolution(2 * width, width)
        self.classifier = nn.Conv2d(width, CLASSES, 1)
        if finetune:
            for parameter in self.parameters():
                parameter.requires_grad = False
            self.classifier.requires_grad = True  # a module has no such flag, so that this does nothing

    def forward(self, image: Tensor) -> Tensor:
        """Map images `[batch, 3, height, width]` to logits `[batch, classes, height, width]`."""
        level1 = self.down1(image)
        level2 = self.down2(self.pool(level1))
        level3 = self.down3(self.pool(level2))
        below = self.up(level3) if self.bottom else level2
        x = self.up2(torch.cat([below, level2], dim=1))
        x = self.up1(torch.cat([self.up(x), level1], dim=1))
        logits = self.classifier(x)
        return logits.sigmoid() if self.sigmoid else logits


def pixel_loss(output: Tensor, target: Tensor) -> Tensor:
    """Compare all pixels' logits with their classes; the classes are not the last dimension of the output."""
    return nn.functional.cross_entropy(output.reshape(-1, CLASSES), target.reshape(-1))


def make_task(flat_loss: bool = False, network: dict[str, Any] | None = None, **data: Any) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: UNet(**(network or {})),
        train=DataLoader(LandCover(400, seed=41, **data), batch_size=16, shuffle=True, drop_last=True),
        val=DataLoader(LandCover(80, seed=42, **data), batch_size=16),
        loss=pixel_loss if flat_loss else nn.CrossEntropyLoss(),
    )


CASE = Case(
    name="landcover-unet",
    healthy=make_task,
    faults=(
        Fault(
            "logits [batch, classes, height, width] flattened without a permute",
            ("cannot-overfit",),
            functools.partial(make_task, flat_loss=True),
        ),
        Fault(
            "masks [batch, 1, height, width]",
            ("target-shape-mismatch",),
            functools.partial(make_task, channel=True),
        ),
        Fault(
            "grey values of the mask's file as classes",
            ("target-out-of-range",),
            functools.partial(make_task, greys=True),
        ),
        Fault(
            "images divided by 255 twice, and not standardised",
            ("input-not-normalised",),
            functools.partial(make_task, divisions=2),
        ),
        Fault(
            "the sigmoid of a net for two classes left before the cross-entropy",
            ("double-softmax",),
            functools.partial(make_task, network={"sigmoid": True}),
        ),
        Fault(
            "a level concatenated with itself instead of the upsampled level below",
            ("parameter-without-gradient",),
            functools.partial(make_task, network={"bottom": False}),
        ),
        Fault(
            "frozen for fine-tuning, the classifier unfrozen by a flag of the module",
            ("frozen-model",),
            functools.partial(make_task, network={"finetune": True}),
        ),
    ),
)
