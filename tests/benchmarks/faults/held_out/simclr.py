"""Contrastive learning: two noisy, shifted views of a digit are to find each other among all views of the batch."""

from __future__ import annotations

from functools import partial

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import lrtune


def _views(first: int, last: int, augmented: bool) -> TensorDataset:
    images = torch.tensor(sklearn.datasets.load_digits().images, dtype=torch.float32)[first:last]
    images = ((images - 4.88) / 6.02).unsqueeze(1)
    draw = torch.Generator().manual_seed(first)

    def view() -> Tensor:
        if not augmented:
            return images
        moves = torch.randint(-1, 2, (len(images), 2), generator=draw).tolist()
        moved = torch.stack(
            [image.roll((down, right), (1, 2)) for image, (down, right) in zip(images, moves, strict=True)]
        )
        return moved + 0.2 * torch.randn(moved.shape, generator=draw)

    return TensorDataset(view(), view())


class _Encoder(nn.Module):
    def __init__(self, unit_axis: int, unit_length: bool) -> None:
        super().__init__()
        self.unit_axis, self.unit_length = unit_axis, unit_length
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, stride=2, padding=1)
        self.norm1, self.norm2 = nn.GroupNorm(4, 16), nn.GroupNorm(8, 32)
        self.projector = nn.Sequential(nn.Linear(32 * 16, 64), nn.ReLU(), nn.Linear(64, 32))

    def forward(self, images: Tensor) -> Tensor:
        x = functional.relu(self.norm1(self.conv1(images)))
        x = functional.relu(self.norm2(self.conv2(x)))
        z = self.projector(x.flatten(1))
        return functional.normalize(z, dim=self.unit_axis) if self.unit_length else z


def _nt_xent(
    model: nn.Module,
    batch: tuple[Tensor, Tensor],
    temperature: float = 0.1,
    hide_self: bool = True,
    euclidean: bool = False,
) -> dict[str, Tensor]:
    first, second = batch
    z = torch.cat([model(first), model(second)])
    similarity = -((z[:, None] - z[None]) ** 2).sum(dim=-1).sqrt() if euclidean else z @ z.T
    logits = similarity / temperature
    if hide_self:
        logits = logits.masked_fill(torch.eye(len(z), dtype=torch.bool), -1e9)
    partner = torch.arange(len(z)).roll(len(first))
    return {"loss": functional.cross_entropy(logits, partner), "output": logits, "target": partner}


def _task(
    unit_axis: int = 1,
    unit_length: bool = True,
    augmented: bool = True,
    temperature: float = 0.1,
    hide_self: bool = True,
    euclidean: bool = False,
) -> lrtune.Task:
    return lrtune.Task(
        model=lambda: _Encoder(unit_axis, unit_length),
        train=DataLoader(
            _views(0, 800, augmented),
            batch_size=32,
            shuffle=True,
            drop_last=True,
            generator=torch.Generator().manual_seed(0),
        ),
        val=DataLoader(_views(1200, 1456, augmented), batch_size=32),
        step=partial(_nt_xent, temperature=temperature, hide_self=hide_self, euclidean=euclidean),
    )


CASE = Case(
    name="simclr",
    healthy=_task,
    faults=(
        Fault(
            "square root of squared distances, that of a view to itself among them",
            ("nonfinite-gradient",),
            partial(_task, euclidean=True, unit_length=False, temperature=1.0),
        ),
        Fault("embeddings normalised along the batch", ("batch-mixing",), partial(_task, unit_axis=0)),
        Fault(
            "a view competes with itself: it is not masked",
            ("cannot-overfit",),
            partial(_task, hide_self=False),
        ),
        Fault("similarities times the temperature", ("cannot-overfit",), partial(_task, temperature=10.0)),
        Fault(
            "both views are the same image",
            ("target-leak", "initial-loss-low"),
            partial(_task, augmented=False),
        ),
    ),
    config={"optimizer": {"name": "adamw"}},
)
