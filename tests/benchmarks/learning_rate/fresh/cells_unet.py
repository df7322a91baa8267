"""Round cells outlined among streaks in unevenly lit images: a U-Net with cross-entropy and Dice's overlap, by Adam."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

SIDE, CELLS, STREAKS, IMAGES = 16, 3, 2, 1400


def _uniform(low: float, high: float, count: int, draw: torch.Generator) -> Tensor:
    """Draw `[IMAGES, count, 1, 1]`, one number a shape."""
    return low + (high - low) * torch.rand(IMAGES, count, 1, 1, generator=draw)


def _images() -> Split:
    draw = torch.Generator().manual_seed(12)
    down, right = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")

    def offsets(count: int) -> tuple[Tensor, Tensor]:
        return down - _uniform(0, SIDE, count, draw), right - _uniform(0, SIDE, count, draw)

    y, x = offsets(CELLS)
    cells = (y**2 + x**2).sqrt() < _uniform(1.5, 3.5, CELLS, draw)
    y, x = offsets(STREAKS)
    angle = _uniform(0, 3.1416, STREAKS, draw)
    across, along = y * angle.cos() - x * angle.sin(), y * angle.sin() + x * angle.cos()
    streaks = (across.abs() < 0.9) & (along.abs() < 7)
    bright = (cells * _uniform(0.3, 1.2, CELLS, draw)).amax(1) + 0.8 * streaks.any(1)
    light = _uniform(-0.04, 0.04, 1, draw)[:, 0] * right + _uniform(-0.04, 0.04, 1, draw)[:, 0] * down
    noise = 0.25 * torch.randn(IMAGES, SIDE, SIDE, generator=draw)
    return split_rows((bright + light + noise).unsqueeze(1), cells.any(1, keepdim=True).float(), 1120)


def _block(into: int, out: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(into, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU())


class _UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse, self.bottom = _block(1, 6), _block(6, 12), _block(12, 12)
        self.up_coarse, self.up_fine = _block(24, 6), _block(12, 6)
        self.head = nn.Conv2d(6, 1, 1)

    def forward(self, images: Tensor) -> Tensor:
        fine = self.fine(images)
        coarse = self.coarse(functional.max_pool2d(fine, 2))
        bottom = self.bottom(functional.max_pool2d(coarse, 2))
        up = functional.interpolate(bottom, scale_factor=2.0)
        up = functional.interpolate(self.up_coarse(torch.cat([up, coarse], 1)), scale_factor=2.0)
        return self.head(self.up_fine(torch.cat([up, fine], 1)))


def _overlap_loss(logits: Tensor, masks: Tensor) -> Tensor:
    chances = logits.sigmoid()
    dice = (2 * (chances * masks).sum() + 1) / (chances.sum() + masks.sum() + 1)
    return functional.binary_cross_entropy_with_logits(logits, masks) + 1 - dice


def _task() -> lrtune.Task:
    train, val = _images().datasets()
    return lrtune.Task(model=_UNet, train=train, val=val, loss=_overlap_loss)


CASE = Case(
    name="cells-unet",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "adam"}, "coarse": {"epochs": 3}},
    guess=1e-3,
)
