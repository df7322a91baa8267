"""A convolutional autoencoder that removes noise from digits with pixels from 0 to 1: an error near zero at once."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_digits
from torch import nn

import lrtune


def _images() -> Split:
    draw = torch.Generator().manual_seed(27)
    digits = load_digits(copies=4, seed=27)
    clean, val_clean = digits.inputs / 16, digits.val_inputs / 16
    noisy = clean + 0.3 * torch.randn(clean.shape, generator=draw)
    val_noisy = val_clean + 0.3 * torch.randn(val_clean.shape, generator=draw)
    return Split(noisy, clean, val_noisy, val_clean)


def _autoencoder() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, kernel_size=3, stride=2, padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(32, 16, kernel_size=2, stride=2),
        nn.ReLU(),
        nn.ConvTranspose2d(16, 1, kernel_size=2, stride=2),
    )


def _task() -> lrtune.Task:
    train, val = _images().datasets()
    return lrtune.Task(model=_autoencoder, train=train, val=val, loss=nn.functional.mse_loss)


CASE = Case(
    name="denoising-autoencoder",
    task=_task,
    config={
        "batch_size": 64,
        "optimizer": {"name": "sgd", "momentum": 0.9, "nesterov": True},
        "coarse": {"epochs": 3},
    },
    guess=0.1,
)
