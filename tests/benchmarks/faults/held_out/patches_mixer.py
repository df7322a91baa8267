"""An MLP-Mixer tells four synthetic textures apart; scaled initial shortcuts, layer normalisation, dropout."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

SIDE, PATCH = 12, 3
TOKENS = (SIDE // PATCH) ** 2


def _textures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw gratings along four directions with random frequency and phase, under noise."""
    draw = torch.Generator().manual_seed(seed)
    label = torch.randint(4, (count,), generator=draw)
    angle = (label * math.pi / 4).view(-1, 1, 1) + 0.1 * torch.randn(count, 1, 1, generator=draw)
    frequency = 0.9 + 0.6 * torch.rand(count, 1, 1, generator=draw)
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=draw)
    place = torch.arange(SIDE).float()
    along = place.view(1, SIDE, 1) * angle.cos() + place.view(1, 1, SIDE) * angle.sin()
    images = 1.3 * torch.sin(frequency * along + phase) + 0.4 * torch.randn(count, SIDE, SIDE, generator=draw)
    return images.unsqueeze(1), label


class _DropPath(nn.Module):
    """Leaves a branch out for some examples in training."""

    def __init__(self, rate: float, rescale: bool) -> None:
        super().__init__()
        self.rate, self.rescale = rate, rescale

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = (torch.rand(len(x), 1, 1, device=x.device) >= self.rate).to(x.dtype)
        return x * kept / (1 - self.rate) if self.rescale else x * kept


class _MixerBlock(nn.Module):
    def __init__(self, width: int, rate: float, rescale: bool, fresh_dropout: bool) -> None:
        super().__init__()
        self.norm_tokens, self.norm_channels = nn.LayerNorm(width), nn.LayerNorm(width)
        self.tokens = nn.Sequential(nn.Linear(TOKENS, 32), nn.GELU(), nn.Linear(32, TOKENS))
        self.channels = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.drop_path = _DropPath(rate, rescale)
        self.fresh_dropout = fresh_dropout

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.tokens(self.norm_tokens(x).transpose(1, 2)).transpose(1, 2))
        y = self.channels(self.norm_channels(x))
        if self.fresh_dropout:
            y = nn.Dropout(0.2)(y)
        return x + self.drop_path(y)


class _Mixer(nn.Module):
    def __init__(
        self,
        rate: float = 0.05,
        rescale: bool = True,
        fresh_dropout: bool = False,
        tokens_first: bool = False,
        scale_in_training: bool = False,
        logit_scale: float = 1.0,
    ) -> None:
        super().__init__()
        width = 48
        self.tokens_first, self.scale_in_training = tokens_first, scale_in_training
        self.logit_scale = logit_scale
        self.embed = nn.Linear(PATCH * PATCH, width)
        self.blocks = nn.Sequential(*(_MixerBlock(width, rate, rescale, fresh_dropout) for _ in range(3)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 4)

    def forward(self, images: Tensor) -> Tensor:
        if self.scale_in_training and self.training:
            images = (images + 2) / 8
        patches = functional.unfold(images, PATCH, stride=PATCH).transpose(1, 2)
        x = self.embed(patches)
        if self.tokens_first:
            # The layout of an older framework: tokens, batch, channels, and back.
            x = x.reshape(TOKENS, len(images), -1).transpose(0, 1)
        x = self.norm(self.blocks(x))
        return self.head(x.mean(dim=1)) * self.logit_scale


def _task(**network: float | bool) -> lrtune.Task:
    return lrtune.Task(
        model=lambda: _Mixer(**network),
        train=TensorDataset(*_textures(1024, 0)),
        val=TensorDataset(*_textures(256, 1)),
        loss=functional.cross_entropy,
    )


CASE = Case(
    name="patches-mixer",
    healthy=_task,
    faults=(
        Fault("tokens and batch swapped by a reshape", ("batch-mixing",), partial(_task, tokens_first=True)),
        Fault(
            "dropped paths at a rate of 0.7 that are not scaled up",
            ("train-eval-gap",),
            partial(_task, rate=0.7, rescale=False),
        ),
        Fault(
            "images are scaled in training mode alone",
            ("train-eval-gap",),
            partial(_task, scale_in_training=True),
        ),
        Fault(
            "a new Dropout in every forward pass",
            ("nondeterministic-model",),
            partial(_task, fresh_dropout=True),
        ),
        Fault(
            "logits divided by a temperature of 0.01",
            ("initial-loss-high",),
            partial(_task, logit_scale=100.0),
        ),
    ),
    config={"optimizer": {"name": "adamw"}},
)
