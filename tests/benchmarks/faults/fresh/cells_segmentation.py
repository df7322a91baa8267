"""Bright cells on an uneven ground: a small U-Net that labels each pixel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 16


def draw_cells(count: int) -> tuple[Tensor, Tensor]:
    """Draw images `[count, 1, SIZE, SIZE]` of two cells each and the masks `[count, SIZE, SIZE]` of 0 and 1."""
    draw = torch.Generator().manual_seed(141)
    axis = torch.arange(SIZE, dtype=torch.float)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    for _ in range(2):
        row, column = 3 + 10 * torch.rand(2, count, 1, 1, generator=draw)
        radius = 2 + 2 * torch.rand(2, count, 1, 1, generator=draw)
        masks |= ((rows - row) / radius[0]) ** 2 + ((columns - column) / radius[1]) ** 2 < 1
    slope = torch.randn(2, count, 1, 1, generator=draw) / SIZE
    ground = slope[0] * (rows - SIZE / 2) + slope[1] * (columns - SIZE / 2)
    images = ground + 1.2 * masks + 0.3 * torch.randn(masks.shape, generator=draw)
    images = (images - images.mean()) / images.std()
    return images.unsqueeze(1), masks.long()


def double(inputs: int, outputs: int) -> nn.Sequential:
    """Build two convolutions with instance normalisation."""
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1),
            nn.InstanceNorm2d(outputs, affine=True),
            nn.LeakyReLU(0.1),
        ]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """One step down and one up, with a shortcut; `bug` names the line that is wrong."""

    def __init__(self, width: int = 8, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.down, self.bottom = double(1, width), double(width, 2 * width)
        self.pool = nn.MaxPool2d(2)
        self.lift = nn.ConvTranspose2d(2 * width, width, 2, stride=2)
        self.up = double(2 * width, width)
        self.classes = nn.Conv2d(width, 2, 1)
        self.softmax = nn.Softmax2d() if bug == "softmax" else nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Map images to logits `[batch, 2, SIZE, SIZE]`."""
        fine = self.down(images)
        coarse = self.lift(self.bottom(self.pool(fine)))
        if self.bug == "blank":
            fine, coarse = torch.zeros_like(fine), torch.zeros_like(coarse)
        both = torch.cat([fine, fine if self.bug == "shortcut twice" else coarse], dim=1)
        return self.softmax(self.classes(self.up(both)))


def pixel_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the cross-entropy of all pixels."""
    return nn.functional.cross_entropy(output, target)


def edge_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the loss at the edges of the cells, but averaged over the pixels that are not edges, too."""
    loss = nn.functional.cross_entropy(output, target, reduction="none")
    mask = target.float().unsqueeze(1)
    near = nn.functional.max_pool2d(mask, 3, stride=1, padding=1) - mask
    return (loss * near.squeeze(1)).mean()


def make_masks(masks: Tensor, bug: str) -> Tensor:
    """Return the masks as the files hold them; `bug` names what went wrong there."""
    if bug == "bytes":
        return 255 * masks
    if bug == "divided":
        # They are 0 and 1 already.
        return masks // 255
    return masks.float() if bug == "floats" else masks


def make_task(
    bug: str = "", mask_bug: str = "", loss: Callable[[Tensor, Tensor], Tensor] = pixel_loss
) -> lrtune.Task:
    """Describe the training."""
    images, masks = draw_cells(640)
    return lrtune.Task(
        model=lambda: UNet(bug=bug),
        train=TensorDataset(images, make_masks(masks, mask_bug)),
        loss=loss,
    )


CASE = Case(
    name="cell segmentation",
    healthy=make_task,
    faults=(
        Fault("masks of 0 and 255", ("target-out-of-range",), lambda: make_task(mask_bug="bytes")),
        Fault("masks divided by 255 twice", ("constant-target",), lambda: make_task(mask_bug="divided")),
        Fault("masks as floats", ("target-dtype",), lambda: make_task(mask_bug="floats")),
        Fault("softmax before cross-entropy", ("double-softmax",), lambda: make_task("softmax")),
        Fault(
            "loss at edges averaged over all pixels",
            ("initial-loss-low", "loss-not-mean"),
            lambda: make_task(loss=edge_loss),
        ),
        Fault(
            "shortcut concatenated with itself",
            ("parameter-without-gradient",),
            lambda: make_task("shortcut twice"),
        ),
        Fault("features replaced by zeros", ("input-ignored",), lambda: make_task("blank")),
    ),
    config={"batch_size": 32},
)
