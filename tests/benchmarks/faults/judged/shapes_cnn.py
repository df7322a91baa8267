"""A convolutional network with batch normalisation that names drawn shapes; batches are dicts."""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F  # noqa: N812 - as everybody writes it
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

SHAPES = ("cross", "disc", "ring", "square")
SIZE = 16


def draw_images(images: int, copied: bool) -> tuple[Tensor, list[str]]:
    """Draw grey images `[images, 16, 16]` of bytes and the names of their files, such as `disc_0007.png`.

    Args:
        images: How many.
        copied: Whether the canvas is copied before the next image is drawn on it.
    """
    generator = torch.Generator().manual_seed(202)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    canvas = torch.zeros(SIZE, SIZE)
    pixels, names = [], []
    for number in range(images):
        shape = SHAPES[int(torch.randint(len(SHAPES), (), generator=generator))]
        centre = 5 + 6 * torch.rand(2, generator=generator)
        radius = 3 + 2 * torch.rand((), generator=generator)
        down, right = (rows - centre[0]).abs(), (columns - centre[1]).abs()
        distance = (down**2 + right**2).sqrt()
        inside = {
            "cross": (torch.minimum(down, right) < 1) & (torch.maximum(down, right) < radius),
            "disc": distance < radius,
            "ring": (distance < radius) & (distance > radius - 1.5),
            "square": torch.maximum(down, right) < 0.85 * radius,
        }[shape]
        noise = 20 * torch.randn(SIZE, SIZE, generator=generator)
        canvas.copy_((60 + 130 * inside + noise).clamp(0, 255))
        pixels.append(canvas.clone() if copied else canvas)
        names.append(f"{shape}_{number:04d}.png")
    return torch.stack(pixels).byte(), names


class ShapeImages(Dataset[dict[str, Tensor]]):
    """Images with the label that their file's name states.

    Args:
        pixels: Bytes `[images, 16, 16]`.
        names: Of the files.
        separator: What ends the part of the name that is taken for the label, counted from the end if it is a dot.
        one_hot: Whether labels are one-hot.
    """

    def __init__(self, pixels: Tensor, names: list[str], separator: str, one_hot: bool) -> None:
        self.images = (pixels.unsqueeze(1).float() / 255 - 0.31) / 0.20
        kinds = [name.split(separator)[-1 if separator == "." else 0] for name in names]
        classes = sorted(set(kinds))
        self.labels = torch.tensor([classes.index(kind) for kind in kinds])
        if one_hot:
            self.labels = F.one_hot(self.labels, len(SHAPES))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"image": self.images[index], "label": self.labels[index]}


class ShapeNet(nn.Module):
    """Three convolutions, each normalised over the batch, and one linear layer.

    Args:
        always_drop: Whether dropout forgets to ask if the model is training.
    """

    def __init__(self, always_drop: bool) -> None:
        super().__init__()
        self.always_drop = always_drop
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(32)
        self.conv3 = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32 * 2 * 2, len(SHAPES))

    def forward(self, x: Tensor) -> Tensor:
        """Map images `[batch, 1, 16, 16]` to logits `[batch, shapes]`."""
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        x = F.max_pool2d(F.relu(self.bn3(self.conv3(x))), 2).flatten(1)
        x = F.dropout(x, 0.3) if self.always_drop else F.dropout(x, 0.3, training=self.training)
        return self.fc(x)


def make_task(
    copied: bool = True,
    separator: str = "_",
    one_hot: bool = False,
    always_drop: bool = False,
    rewrapped: bool = False,
    reduction: str = "mean",
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        copied: Whether each image gets memory of its own.
        separator: Splits the files' names.
        one_hot: Whether labels are one-hot.
        always_drop: Whether dropout is on in evaluation, too.
        rewrapped: Whether the loss is made a new tensor, to silence an error about `requires_grad`.
        reduction: Of the cross-entropy.
    """
    pixels, names = draw_images(1000, copied)
    parts = [
        ShapeImages(pixels[part], names[part], separator, one_hot) for part in (slice(800), slice(800, None))
    ]

    def training_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        """Score one batch."""
        logits = model(batch["image"])
        loss = F.cross_entropy(logits, batch["label"], reduction=reduction)
        if rewrapped:
            loss = torch.tensor(loss.item(), requires_grad=True)
        return {"loss": loss, "output": logits, "target": batch["label"]}

    return lrtune.Task(
        model=lambda: ShapeNet(always_drop),
        train=DataLoader(parts[0], 32, shuffle=True, generator=torch.Generator().manual_seed(0)),
        val=DataLoader(parts[1], 100),
        step=training_step,
    )


CASE = Case(
    name="shapes-cnn",
    healthy=make_task,
    faults=(
        Fault(
            "one-hot whole-number labels for cross-entropy",
            ("target-shape-mismatch", "target-dtype"),
            functools.partial(make_task, one_hot=True),
        ),
        Fault(
            "the file's extension taken for its label",
            ("constant-target",),
            functools.partial(make_task, separator="."),
        ),
        Fault(
            "F.dropout without training=self.training",
            ("nondeterministic-model",),
            functools.partial(make_task, always_drop=True),
        ),
        Fault(
            "the loss made a new tensor with requires_grad=True",
            ("detached-loss",),
            functools.partial(make_task, rewrapped=True),
        ),
        Fault(
            "one canvas for all images, never copied, so that all show the last",
            ("constant-input", "conflicting-labels"),
            functools.partial(make_task, copied=False),
        ),
        Fault(
            "the loss summed over the batch",
            ("loss-not-mean",),
            functools.partial(make_task, reduction="sum"),
        ),
    ),
)
