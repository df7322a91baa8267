"""A perceptron that tells five kinds of land cover from a plot's measurements, with log probabilities and NLLLoss."""

from __future__ import annotations

import functools
import itertools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

CLASSES = 5
# elevation, slope, distance to water, distance to roads, shade, soil moisture, rain, days of snow: lowest, highest
RANGES = ((1800, 3600), (0, 40), (0, 1400), (0, 7000), (60, 255), (0.05, 0.5), (300, 1500), (0, 200))


def survey(plots: int) -> tuple[Tensor, Tensor]:
    """Draw measurements in their own units, and the cover that smooth preferences of them favour most."""
    generator = torch.Generator().manual_seed(101)
    shares = torch.rand(plots, len(RANGES), generator=generator)
    mixing = torch.randn(len(RANGES), 10, generator=generator)
    preferences = torch.randn(10, CLASSES, generator=generator)
    scores = torch.tanh((2 * shares - 1) @ mixing) @ preferences
    scores = scores - scores.mean(dim=0) + 0.1 * torch.randn(plots, CLASSES, generator=generator)
    low, high = torch.tensor(RANGES).T
    return low + shares * (high - low), scores.argmax(dim=1)


class LandCoverNet(nn.Module):
    """Three hidden layers and log probabilities.

    Args:
        listed: Keeps the hidden layers in a plain list.
        zeroed: Starts all weights at zero.
        logarithm: Whether the softmax is a log-softmax.
        axis: Of the softmax.
    """

    def __init__(self, listed: bool, zeroed: bool, logarithm: bool, axis: int) -> None:
        super().__init__()
        sizes = [len(RANGES), 64, 64, 64]
        layers = [nn.Linear(before, after) for before, after in itertools.pairwise(sizes)]
        self.hidden = layers if listed else nn.ModuleList(layers)
        self.out = nn.Linear(sizes[-1], CLASSES)
        for layer in [*layers, self.out]:
            if zeroed:
                nn.init.zeros_(layer.weight)
            elif layer is self.out:
                nn.init.normal_(layer.weight, std=0.05)
            else:
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
        self.normalise = nn.LogSoftmax(dim=axis) if logarithm else nn.Softmax(dim=axis)

    def forward(self, plots: Tensor) -> Tensor:
        """Map measurements `[batch, columns]` to log probabilities `[batch, classes]`."""
        for layer in self.hidden:
            plots = torch.relu(layer(plots))
        return self.normalise(self.out(plots))


def make_task(
    raw: bool = False,
    from_one: bool = False,
    listed: bool = False,
    zeroed: bool = False,
    logarithm: bool = True,
    axis: int = 1,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        raw: Keeps the measurements' units.
        from_one: Numbers the classes from 1, as the survey's legend does.
        listed: Keeps the hidden layers in a plain list.
        zeroed: Starts all weights at zero.
        logarithm: Whether the model ends with a log-softmax, as NLLLoss expects.
        axis: Of the softmax.
    """
    plots, covers = survey(1500)
    if not raw:
        plots = (plots - plots[:1200].mean(dim=0)) / plots[:1200].std(dim=0)
    if from_one:
        covers = covers + 1
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: LandCoverNet(listed, zeroed, logarithm, axis),
        train=DataLoader(TensorDataset(plots[:1200], covers[:1200]), 64, shuffle=True, generator=generator),
        val=DataLoader(TensorDataset(plots[1200:], covers[1200:]), 100),
        loss=nn.NLLLoss(),
    )


CASE = Case(
    name="land-cover-mlp",
    healthy=make_task,
    faults=(
        Fault(
            "classes numbered from 1",
            ("target-out-of-range",),
            functools.partial(make_task, from_one=True),
        ),
        Fault(
            "log-softmax over the batch",
            ("batch-mixing",),
            functools.partial(make_task, axis=0),
        ),
        Fault(
            "hidden layers in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, listed=True),
        ),
        Fault(
            "all weights start at zero",
            ("symmetric-init",),
            functools.partial(make_task, zeroed=True),
        ),
        Fault(
            "measurements in metres, degrees and millimetres",
            ("input-not-normalised",),
            functools.partial(make_task, raw=True),
        ),
        Fault(
            "softmax instead of log-softmax before NLLLoss",
            ("initial-loss-low",),
            functools.partial(make_task, logarithm=False),
        ),
    ),
)
