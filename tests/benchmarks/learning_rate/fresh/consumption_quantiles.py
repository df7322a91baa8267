"""Six hours of households' consumption ahead, as quantiles, by dilated causal convolutions and RMSprop."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_rows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

HOMES, HOURS, PAST, AHEAD, CHANNELS = 40, 24 * 28, 48, 6, 16
QUANTILES = (0.1, 0.5, 0.9)


def _series() -> Tensor:
    """Return consumption `[HOMES, HOURS]`: habits by day and week, an appliance now and then, slow weather; scaled."""
    draw = torch.Generator().manual_seed(16)
    hour = torch.arange(HOURS)
    phase = 2 * torch.randn(HOMES, 1, generator=draw)
    evening = (-((hour % 24 - 19 + phase) ** 2) / 8).exp()
    morning = (-((hour % 24 - 7 + phase) ** 2) / 4).exp() * (hour // 24 % 7 < 5)
    weather = torch.randn(1, HOURS, generator=draw).cumsum(1)
    weather = (weather - weather.mean()) / weather.std()
    appliance = torch.rand(HOMES, HOURS, generator=draw) < 0.01
    lasting = functional.max_pool1d(appliance.float(), 3, stride=1, padding=1)
    noise = (0.1 * torch.randn(HOMES, HOURS, generator=draw)).exp()
    consumption = (0.3 + evening + 0.7 * morning + 0.3 * weather.relu() + lasting) * noise
    return (consumption - consumption.mean(1, keepdim=True)) / consumption.std(1, keepdim=True)


def _windows() -> Split:
    windows = _series().unfold(1, PAST + AHEAD, 7).flatten(0, 1)
    order = torch.randperm(len(windows), generator=torch.Generator().manual_seed(17))[:3000]
    chosen = windows[order]
    return split_rows(chosen[:, None, :PAST], chosen[:, PAST:], 2560)


class _Causal(nn.Module):
    def __init__(self, into: int, dilation: int) -> None:
        super().__init__()
        self.before = 2 * dilation
        self.convolution = nn.Conv1d(into, CHANNELS, 3, dilation=dilation)
        self.skip = nn.Conv1d(into, CHANNELS, 1) if into != CHANNELS else nn.Identity()

    def forward(self, signal: Tensor) -> Tensor:
        padded = functional.pad(signal, (self.before, 0))
        return self.skip(signal) + functional.relu(self.convolution(padded))


class _Forecaster(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _Causal(1, 1), _Causal(CHANNELS, 3), _Causal(CHANNELS, 9), _Causal(CHANNELS, 9)
        )
        self.head = nn.Linear(CHANNELS, AHEAD * len(QUANTILES))
        nn.init.normal_(self.head.weight, std=0.02)

    def forward(self, past: Tensor) -> Tensor:
        return self.head(self.layers(past)[:, :, -1]).unflatten(1, (AHEAD, len(QUANTILES)))


def _pinball(forecast: Tensor, future: Tensor) -> Tensor:
    missed = future.unsqueeze(2) - forecast
    levels = torch.tensor(QUANTILES)
    return torch.maximum(levels * missed, (levels - 1) * missed).mean()


def _task() -> lrtune.Task:
    train, val = _windows().datasets()
    return lrtune.Task(model=_Forecaster, train=train, val=val, loss=_pinball)


CASE = Case(
    name="consumption-quantiles",
    task=_task,
    config={"batch_size": 32, "optimizer": {"name": "rmsprop"}, "coarse": {"epochs": 3}},
    guess=1e-3,
)
