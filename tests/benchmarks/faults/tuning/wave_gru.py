"""A GRU that tells waveforms apart, with class weights for their unequal frequencies."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import lrtune

SHARES = (0.4, 0.3, 0.2, 0.1)


def make_waves(
    count: int, seed: int, shares: tuple[float, ...] = SHARES, log_power: bool = False
) -> TensorDataset:
    """Draw noisy sine, square, sawtooth and frequency-modulated waves `[count, 16, 2]` with their slopes.

    Args:
        count: Waves.
        seed: Of the draw.
        shares: Of the four classes.
        log_power: Takes the logarithm of the signal's power in place of the slope; the sensor reports
            silence as exactly 0.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.multinomial(torch.tensor(shares), count, replacement=True, generator=generator)
    cycles = 1.5 + 1.5 * torch.rand(count, 1, generator=generator)
    start = torch.rand(count, 1, generator=generator)
    phase = cycles * torch.linspace(0, 1, 16) + start
    sine = (2 * math.pi * phase).sin()
    modulated = (2 * math.pi * (phase + 1.5 * torch.linspace(0, 1, 16).square())).sin()
    shapes = torch.stack([sine, sine.sign(), 2 * (phase % 1) - 1, modulated], dim=1)
    signal = shapes[torch.arange(count), labels] + 0.15 * torch.randn(count, 16, generator=generator)
    if log_power:
        signal = signal * (signal.abs() > 0.05)
        second = signal.square().log()
    else:
        second = signal.diff(dim=1, prepend=signal[:, :1])
    return TensorDataset(torch.stack([signal / 0.8, second / 0.86], dim=2), labels)


class WaveGru(nn.Module):
    """A GRU, the mean of its states over time, and a linear layer.

    Args:
        batch_first: Whether the GRU takes the batch as its first dimension.
        plain: Uses a plain recurrence with ReLU instead, its weights orthogonal times 4.
        wide_init: Draws its weights with deviation 3.
        inverted_mask: Keeps only the steps that lie behind the end of a wave.
        frozen_features: Runs the GRU without recording gradients.
    """

    def __init__(
        self,
        batch_first: bool = True,
        plain: bool = False,
        wide_init: bool = False,
        inverted_mask: bool = False,
        frozen_features: bool = False,
    ) -> None:
        super().__init__()
        self.inverted_mask, self.frozen_features = inverted_mask, frozen_features
        if plain:
            self.gru = nn.RNN(2, 32, batch_first=batch_first, nonlinearity="relu")
            nn.init.orthogonal_(self.gru.weight_hh_l0, gain=4.0)
        else:
            self.gru = nn.GRU(2, 32, batch_first=batch_first)
        self.head = nn.Linear(32, 4)
        if wide_init:
            for parameter in self.gru.parameters():
                nn.init.normal_(parameter, std=3.0)

    def forward(self, waves: Tensor) -> Tensor:
        """Map waves `[batch, time, 2]` to logits `[batch, 4]`."""
        padding = torch.zeros(waves.shape[1], dtype=torch.bool, device=waves.device)
        if self.inverted_mask:
            waves = waves.masked_fill(~padding[:, None], 0.0)
        else:
            waves = waves.masked_fill(padding[:, None], 0.0)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_features):
            states, _ = self.gru(waves)
        return self.head(states.mean(dim=1))


def weighted_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the cross entropy with every class weighted by how rare it is."""
    weight = 0.25 / torch.tensor(SHARES, device=output.device)
    return nn.functional.cross_entropy(output, target, weight=weight)


def rewrapped_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return the loss, its value put into a new tensor to silence an error of `backward`."""
    return torch.tensor(weighted_loss(output, target).item(), requires_grad=True)


def make_task(
    shares: tuple[float, ...] = SHARES, log_power: bool = False, rewrapped: bool = False, **network: bool
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: WaveGru(**network),
        train=make_waves(1000, 0, shares, log_power),
        val=make_waves(200, 1, shares, log_power),
        loss=rewrapped_loss if rewrapped else weighted_loss,
    )


CASE = Case(
    name="wave-gru",
    healthy=make_task,
    faults=(
        Fault(
            "logarithm of a power that is zero in silence",
            ("nonfinite-input",),
            functools.partial(make_task, log_power=True),
        ),
        Fault(
            "three of the four classes nearly absent",
            ("class-imbalance",),
            functools.partial(make_task, shares=(0.988, 0.004, 0.004, 0.004)),
        ),
        Fault(
            "batch_first forgotten",
            ("batch-mixing",),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "recurrent weights drawn with deviation 3",
            ("saturated-units", "exploding-gradient"),
            functools.partial(make_task, wide_init=True),
        ),
        Fault(
            "a ReLU recurrence with orthogonal weights times 4",
            ("exploding-gradient", "initial-loss-high"),
            functools.partial(make_task, plain=True),
        ),
        Fault(
            "padding mask inverted",
            ("input-ignored",),
            functools.partial(make_task, inverted_mask=True),
        ),
        Fault(
            "the GRU runs without gradients",
            ("parameter-without-gradient",),
            functools.partial(make_task, frozen_features=True),
        ),
        Fault(
            "the loss's value wrapped in a new tensor",
            ("detached-loss",),
            functools.partial(make_task, rewrapped=True),
        ),
    ),
    config={"optimizer": {"name": "adam"}},
)
