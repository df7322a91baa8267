"""The noise in a digit at a random stage of diffusion, from the noisy image and the stage, by AdamW."""

from __future__ import annotations

import math

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import load_digits
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

PIXELS, WIDTH, WAVES = 64, 128, 8


def _stages(count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(count, 1, generator=draw), torch.randn(count, PIXELS, generator=draw)


def _diffused() -> tuple[TensorDataset, TensorDataset]:
    """Return images, stages from 0 to 1 and noise; a training image comes at three stages."""
    draw = torch.Generator().manual_seed(20)
    split = load_digits(copies=3, seed=20)
    train, val = (images.flatten(1) / 8 - 1 for images in (split.inputs, split.val_inputs))
    return TensorDataset(train, *_stages(len(train), draw)), TensorDataset(val, *_stages(len(val), draw))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.stage = nn.LayerNorm(WIDTH), nn.Linear(2 * WAVES, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(2 * WIDTH, WIDTH)

    def forward(self, hidden: Tensor, stage: Tensor) -> Tensor:
        inner = self.up(self.norm(hidden) + self.stage(stage))
        return hidden + self.down(nn.functional.gelu(inner))


class _Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(PIXELS, WIDTH), nn.Linear(WIDTH, PIXELS)
        self.first, self.second = _Block(), _Block()
        self.register_buffer("frequencies", torch.logspace(0, 2, WAVES))

    def forward(self, noisy: Tensor, stage: Tensor) -> Tensor:
        angles = stage * self.frequencies
        waves = torch.cat([angles.sin(), angles.cos()], dim=1)
        hidden = self.enter(noisy)
        return self.leave(self.second(self.first(hidden, waves), waves))


def _noise_error(model: nn.Module, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    images, stage, noise = batch
    angle = stage * math.pi / 2
    output = model(angle.cos() * images + angle.sin() * noise, stage)
    return {"loss": nn.functional.mse_loss(output, noise), "output": output, "target": noise}


def _task() -> lrtune.Task:
    train, val = _diffused()
    return lrtune.Task(model=_Denoiser, train=train, val=val, step=_noise_error)


CASE = Case(
    name="digits-diffusion",
    task=_task,
    config={"batch_size": 48, "optimizer": {"name": "adamw"}, "coarse": {"epochs": 3}},
    guess=1e-3,
)
