"""Eight dilated causal convolutions with residuals forecast air pressure four hours ahead, at every hour."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, TensorDataset

import lrtune

WINDOW, AHEAD = 32, 4


def _pressure(hours: int) -> Tensor:
    """Draw a slow random weather, a daily tide and a little noise, in hPa around 1013."""
    draw = torch.Generator().manual_seed(13)
    level, trend, levels = 0.0, 0.0, []
    for push in torch.randn(hours, generator=draw).tolist():
        trend = 0.93 * trend + 0.25 * push
        level = 0.99 * level + trend
        levels.append(level)
    tide = torch.sin(2 * math.pi * torch.arange(hours) / 12)
    return 1013 + torch.tensor(levels) + tide + 0.1 * torch.randn(hours, generator=draw)


class _Windows(Dataset[tuple[Tensor, Tensor]]):
    """Windows of the series; the target is the series some hours later."""

    def __init__(self, series: Tensor, target: Tensor, stuck: bool) -> None:
        self.series, self.target, self.stuck = series, target, stuck
        self.start = 0

    def __len__(self) -> int:
        return (len(self.series) - WINDOW - AHEAD) // 2

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        begin = 2 * index
        source = self.start if self.stuck else begin
        return self.series[source : source + WINDOW].unsqueeze(0), self.target[
            begin + AHEAD : begin + AHEAD + WINDOW
        ]


class _Residual(nn.Module):
    def __init__(self, channels: int, dilation: int, branch_gain: float) -> None:
        super().__init__()
        self.padding = 2 * dilation
        self.conv = nn.Conv1d(channels, channels, 3, dilation=dilation)
        self.point = nn.Conv1d(channels, channels, 1)
        nn.init.normal_(self.point.weight, std=branch_gain / channels**0.5)

    def forward(self, x: Tensor) -> Tensor:
        y = functional.silu(self.conv(functional.pad(x, (self.padding, 0))))
        return x + self.point(y)


class _TCN(nn.Module):
    def __init__(self, keep_channel: bool, branch_gain: float) -> None:
        super().__init__()
        self.keep_channel = keep_channel
        self.enter = nn.Conv1d(1, 24, 1)
        self.blocks = nn.Sequential(*(_Residual(24, 2 ** (i % 4), branch_gain) for i in range(8)))
        self.leave = nn.Conv1d(24, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        forecast = self.leave(self.blocks(self.enter(x)))
        return forecast if self.keep_channel else forecast.squeeze(1)


def _task(
    keep_channel: bool = False,
    branch_gain: float = 0.2,
    stuck: bool = False,
    centre: bool = True,
    by_level: bool = False,
) -> lrtune.Task:
    series = _pressure(2200)
    scaled = (series - series.mean()) / series.std()
    past = scaled if centre else series / series.std()
    train = _Windows(past[:1800], scaled[:1800], stuck)
    if by_level:
        pairs = [train[index] for index in range(len(train))]
        pairs.sort(key=lambda pair: float(pair[1].mean()))
        sets = TensorDataset(*map(torch.stack, zip(*pairs, strict=True)))
        loader = DataLoader(sets, batch_size=32)
    else:
        loader = DataLoader(train, batch_size=32, shuffle=True, generator=torch.Generator().manual_seed(0))
    return lrtune.Task(
        model=lambda: _TCN(keep_channel, branch_gain),
        train=loader,
        val=DataLoader(_Windows(past[1800:], scaled[1800:], stuck), batch_size=64),
        loss=nn.MSELoss(),
    )


CASE = Case(
    name="forecast-tcn",
    healthy=_task,
    faults=(
        Fault(
            "forecasts [B, 1, T] against targets [B, T]",
            ("broadcast-target", "target-shape-mismatch"),
            partial(_task, keep_channel=True),
        ),
        Fault("pressure scaled, but not centred", ("input-not-normalised",), partial(_task, centre=False)),
        Fault(
            "every item is the first window",
            ("constant-input", "conflicting-labels"),
            partial(_task, stuck=True),
        ),
        Fault(
            "windows sorted by level, the loader does not shuffle",
            ("unshuffled-batches",),
            partial(_task, by_level=True),
        ),
        Fault(
            "every residual branch starts twenty times too wide",
            ("exploding-gradient", "initial-loss-high"),
            partial(_task, branch_gain=4.0),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
