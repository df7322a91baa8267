"""A small U-Net paints discs and crosses on noisy images: three classes a pixel, group normalisation."""

from __future__ import annotations

from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrtune

SIDE = 16


def _scenes(count: int, seed: int, radii: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Draw images `[count, 1, SIDE, SIDE]` in [0, 1] and the class of each pixel: ground, disc or cross."""
    draw = torch.Generator().manual_seed(seed)
    place = torch.arange(SIDE).float()
    centre = 3 + (SIDE - 6) * torch.rand(count, 2, 2, 1, 1, generator=draw)
    radius = radii[0] + (radii[1] - radii[0]) * torch.rand(count, 2, 1, 1, generator=draw)
    down = (place.view(1, 1, SIDE, 1) - centre[:, 0]).abs()
    right = (place.view(1, 1, 1, SIDE) - centre[:, 1]).abs()
    disc = (down**2 + right**2)[:, 0] < radius[:, 0] ** 2
    cross = ((down < radius) & (right < radius) & ((down < 1) | (right < 1)))[:, 1]
    mask = torch.where(cross, 2, disc.long())
    bright = torch.tensor([0.25, 0.7, 0.6])[mask] + 0.1 * torch.randn(mask.shape, generator=draw)
    return bright.clamp(0, 1).unsqueeze(1), mask


def _conv(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.GroupNorm(4, outputs), nn.ReLU(inplace=True)
    )


class _UNet(nn.Module):
    def __init__(self, up_in_dict: bool = False, end: str = "logits") -> None:
        super().__init__()
        self.down1, self.down2 = _conv(1, 16), _conv(16, 32)
        self.bottom = _conv(32, 32)
        ups = {"coarse": _conv(64, 16), "fine": _conv(32, 16)}
        self.ups = ups if up_in_dict else nn.ModuleDict(ups)
        self.out = nn.Conv2d(16, 3, 1)
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        low = self.bottom(functional.max_pool2d(two, 2))
        up = self.ups["coarse"](torch.cat([functional.interpolate(low, scale_factor=2), two], dim=1))
        up = self.ups["fine"](torch.cat([functional.interpolate(up, scale_factor=2), one], dim=1))
        logits = self.out(up)
        return logits.softmax(dim=1) if self.end == "softmax" else logits


def _task(
    masks: str = "classes",
    pixels: str = "float",
    reduction: str = "mean",
    radii: tuple[float, float] = (3.0, 6.0),
    **network: bool | str,
) -> lrtune.Task:
    splits = []
    for count, seed in ((320, 0), (96, 1)):
        images, mask = _scenes(count, seed, radii)
        integers = (images * 255).int() // 256
        images = integers.float() if pixels == "integer division" else (images - 0.39) / 0.22
        if masks == "float":
            mask = mask.float()
        elif masks == "void border":
            mask[:, [0, -1]] = mask[:, :, [0, -1]] = 255
        splits.append(TensorDataset(images, mask))
    train, val = splits
    return lrtune.Task(
        model=lambda: _UNet(**network),
        train=DataLoader(train, batch_size=16, shuffle=True, generator=torch.Generator().manual_seed(0)),
        val=DataLoader(val, batch_size=32),
        loss=nn.CrossEntropyLoss(reduction=reduction),
    )


CASE = Case(
    name="shapes-unet",
    healthy=_task,
    faults=(
        Fault("masks as floats", ("target-dtype",), partial(_task, masks="float")),
        Fault(
            "void pixels are 255 and not ignored",
            ("target-out-of-range",),
            partial(_task, masks="void border"),
        ),
        Fault(
            "losses summed over all pixels",
            ("loss-not-mean", "initial-loss-high"),
            partial(_task, reduction="sum"),
        ),
        Fault(
            "softmax over the classes, then cross-entropy", ("double-softmax",), partial(_task, end="softmax")
        ),
        Fault(
            "pixels divided as integers: every image is 0",
            ("constant-input",),
            partial(_task, pixels="integer division"),
        ),
        Fault(
            "blocks of the way up in a plain dict",
            ("unregistered-parameter",),
            partial(_task, up_in_dict=True),
        ),
        Fault(
            "one pixel in a hundred shows anything",
            ("class-imbalance",),
            partial(_task, radii=(0.6, 0.9)),
        ),
    ),
    config={"optimizer": {"name": "adamw"}},
)
