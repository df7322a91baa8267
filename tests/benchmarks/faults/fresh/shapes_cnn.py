"""Coloured shapes on noisy ground: a convolutional network with batch normalisation, as in many tutorials."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

SIZE = 16
SHAPES = 4


def draw_images(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw bytes `[count, 3, SIZE, SIZE]` that show a disc, a square, a cross or a ring, and which it is."""
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(SHAPES, (count,), generator=draw)
    centre = 6 + 4 * torch.rand(count, 2, 1, 1, generator=draw)
    radius = 3 + 2 * torch.rand(count, 1, 1, generator=draw)
    rows, columns = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
    down, right = (rows - centre[:, 0]).abs(), (columns - centre[:, 1]).abs()
    away = (down**2 + right**2).sqrt()
    kinds = [
        away < radius,
        torch.maximum(down, right) < radius,
        (torch.minimum(down, right) < 1) & (torch.maximum(down, right) < radius),
        (away < radius) & (away > radius - 1.5),
    ]
    shown = torch.stack(kinds)[labels, torch.arange(count)].unsqueeze(1)
    ground, ink = torch.rand(2, count, 3, 1, 1, generator=draw)
    images = torch.where(shown, 0.5 + 0.5 * ink, 0.4 * ground)
    images = images + 0.08 * torch.randn(images.shape, generator=draw)
    return (images.clamp(0, 1) * 255).byte(), labels


class Shapes(Dataset):
    """Images with a transform, as torchvision's datasets have one."""

    def __init__(self, normalise: bool = True, folder_by_folder: bool = False) -> None:
        self.images, self.labels = draw_images(1200, seed=21)
        if folder_by_folder:
            order = self.labels.argsort(stable=True)
            self.images, self.labels = self.images[order], self.labels[order]
        self.normalise = normalise

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = self.images[index].float()
        if self.normalise:
            image = (image / 255 - 0.31) / 0.25
        return image, int(self.labels[index])


class OwnNorm(nn.Module):
    """A batch normalisation by hand that never stores what it has seen."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gain, self.bias = (nn.Parameter(torch.full((1, channels, 1, 1), v)) for v in (1.0, 0.0))
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("var", torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise channels of `[batch, channels, rows, columns]`."""
        mean, var = self.mean, self.var
        if self.training:
            mean = x.mean(dim=(0, 2, 3), keepdim=True)
            var = x.var(dim=(0, 2, 3), keepdim=True)
        return (x - mean) / (var + 1e-5).sqrt() * self.gain + self.bias


class ShapeNet(nn.Module):
    """Two convolutions and two linear layers; `bug` names the line that is wrong."""

    def __init__(self, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        norm = OwnNorm if bug == "own norm" else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(3, 12, 3, padding=1, bias=False)
        self.norm1 = norm(12)
        self.conv2 = nn.Conv2d(12, 24, 3, padding=1, bias=False)
        self.norm2 = norm(24)
        self.fc1 = nn.Linear(24 * 4 * 4, 48)
        self.fc2 = nn.Linear(48, SHAPES)

    def features(self, x: Tensor) -> Tensor:
        """Return `[batch, 24, 4, 4]`."""
        x = F.max_pool2d(F.relu(self.norm1(self.conv1(x))), 2)
        return F.max_pool2d(F.relu(self.norm2(self.conv2(x))), 2)

    def forward(self, x: Tensor) -> Tensor:
        """Map images to logits."""
        if self.bug == "rescaled at inference" and not self.training:
            x = x / 255
        if self.bug == "no_grad":
            with torch.no_grad():
                x = self.features(x)
        else:
            x = self.features(x)
        x = x.transpose(0, 1).reshape(x.shape[0], -1) if self.bug == "transposed" else x.flatten(1)
        x = F.relu(self.fc1(x))
        if self.bug == "dropout":
            x = F.dropout(x, 0.5)
        x = self.fc2(x)
        return F.softmax(x, dim=1) if self.bug == "softmax" else x


def make_task(bug: str = "", normalise: bool = True, folder_by_folder: bool = False) -> lrtune.Task:
    """Describe the training."""
    train = DataLoader(
        Shapes(normalise, folder_by_folder),
        batch_size=48,
        shuffle=not folder_by_folder,
        generator=torch.Generator().manual_seed(22),
    )
    return lrtune.Task(model=lambda: ShapeNet(bug), train=train, loss=nn.CrossEntropyLoss())


CASE = Case(
    name="shapes CNN",
    healthy=make_task,
    faults=(
        Fault("bytes as they are", ("input-not-normalised",), lambda: make_task(normalise=False)),
        Fault(
            "one folder after the other", ("unshuffled-batches",), lambda: make_task(folder_by_folder=True)
        ),
        Fault("softmax before cross-entropy", ("double-softmax",), lambda: make_task("softmax")),
        Fault("channels before batch when flattened", ("batch-mixing",), lambda: make_task("transposed")),
        Fault("features under no_grad", ("parameter-without-gradient",), lambda: make_task("no_grad")),
        Fault("functional dropout", ("nondeterministic-model",), lambda: make_task("dropout")),
        Fault("own norm keeps no statistics", ("train-eval-gap",), lambda: make_task("own norm")),
        Fault(
            "inference divides by 255 again", ("train-eval-gap",), lambda: make_task("rescaled at inference")
        ),
    ),
)
