"""A vision transformer over 2x2 patches, its class token and positions learnt, its head zero at the start."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable


class _Digits(Dataset[tuple[Tensor, Tensor]]):
    def __init__(self, first: int, last: int, column: bool) -> None:
        bunch = sklearn.datasets.load_digits()
        order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(5))[first:last]
        self.images = (torch.tensor(bunch.images, dtype=torch.float32)[order] - 4.88) / 6.02
        self.labels = torch.tensor(bunch.target)[order]
        if column:
            self.labels = self.labels.reshape(-1, 1)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.images[index].unsqueeze(0), self.labels[index]


class _Layer(nn.Module):
    def __init__(self, width: int, batch_first: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 4, batch_first=batch_first)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.norm2(x))


class _ViT(nn.Module):
    def __init__(
        self, batch_first: bool = True, read_processed: bool = True, constant_weights: bool = False
    ) -> None:
        super().__init__()
        width = 40
        self.read_processed = read_processed
        self.patches = nn.Conv2d(1, width, kernel_size=2, stride=2)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.randn(1, 17, width) * 0.02)
        self.layers = nn.ModuleList(_Layer(width, batch_first) for _ in range(3))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)
        nn.init.zeros_(self.head.weight)
        if constant_weights:
            for module in self.layers.modules():
                if isinstance(module, nn.Linear):
                    nn.init.constant_(module.weight, 0.02)
                    nn.init.constant_(module.bias, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patches(images).flatten(2).transpose(1, 2)
        cls = self.cls_token.expand(len(x), -1, -1)
        tokens = torch.cat([cls, x], dim=1) + self.positions
        for layer in self.layers:
            tokens = layer(tokens)
        return self.head(self.norm(tokens[:, 0] if self.read_processed else cls[:, 0]))


def _adamw(
    model: nn.Module, lr: float, weight_decay: float, walk_modules: bool = False
) -> torch.optim.Optimizer:
    if walk_modules:
        decayed: list[nn.Parameter] = []
        plain: list[nn.Parameter] = []
        for module in model.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                decayed.append(module.weight)
                plain.append(module.bias)
            elif isinstance(module, nn.LayerNorm):
                plain += [module.weight, module.bias]
            elif isinstance(module, nn.MultiheadAttention):
                decayed.append(module.in_proj_weight)
                plain.append(module.in_proj_bias)
    else:
        decayed = [p for p in model.parameters() if p.ndim >= 2]
        plain = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr)


def _task(
    model: Callable[[], nn.Module] = _ViT, column: bool = False, walk_modules: bool = False
) -> lrtune.Task:
    return lrtune.Task(
        model=model,
        train=DataLoader(
            _Digits(0, 768, column), batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(1)
        ),
        val=DataLoader(_Digits(1200, 1500, column), batch_size=100),
        loss=functional.cross_entropy,
        optimizer=partial(_adamw, walk_modules=walk_modules),
    )


CASE = Case(
    name="digits-vit",
    healthy=_task,
    faults=(
        Fault(
            "attention runs over the batch: no batch_first",
            ("batch-mixing",),
            partial(_task, partial(_ViT, batch_first=False)),
        ),
        Fault(
            "the head reads the class token from before the layers",
            ("input-ignored", "parameter-without-gradient"),
            partial(_task, partial(_ViT, read_processed=False)),
        ),
        Fault(
            "every weight of a layer starts at the same constant",
            ("symmetric-init",),
            partial(_task, partial(_ViT, constant_weights=True)),
        ),
        Fault(
            "groups collected by module miss class token and positions",
            ("parameter-not-in-optimizer",),
            partial(_task, walk_modules=True),
        ),
        Fault("labels [B, 1] for cross-entropy", ("target-shape-mismatch",), partial(_task, column=True)),
    ),
)
