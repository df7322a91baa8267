"""A deep denoising autoencoder of pulse waves, from a converter's counts."""

from __future__ import annotations

import functools
import itertools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import lrtune

SAMPLES = 48


def record_pulses(pulses: int) -> Tensor:
    """Draw counts `[pulses, 1, 48]`: a main wave and its echo, on a base line of about 1800."""
    generator = torch.Generator().manual_seed(707)
    time = torch.linspace(0, 1, SAMPLES)
    shares = torch.rand(5, pulses, 1, generator=generator)
    main = (0.7 + 0.6 * shares[0]) * torch.exp(-(((time - 0.2 - 0.2 * shares[1]) / 0.1) ** 2))
    echo = (0.2 + 0.5 * shares[2]) * torch.exp(-(((time - 0.6 - 0.2 * shares[3]) / 0.12) ** 2))
    noise = 0.02 * torch.randn(pulses, SAMPLES, generator=generator)
    return (1700 + 200 * shares[4] + 900 * (main + echo + noise)).round().unsqueeze(1)


class Pulses(Dataset[tuple[Tensor, Tensor]]):
    """Each pulse as input and as what to reconstruct.

    Args:
        counts: Of the converter.
        raw_targets: Whether the counts themselves are to be reconstructed from standardised inputs.
    """

    def __init__(self, counts: Tensor, raw_targets: bool) -> None:
        self.inputs = (counts - 2036) / 275
        self.targets = counts if raw_targets else self.inputs

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        return self.inputs[index], self.targets[index]


def stack(sizes: list[int], sigmoid: bool) -> nn.Sequential:
    """Stack linear layers with an activation after each but the last."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(sizes):
        linear = nn.Linear(before, after)
        if sigmoid:
            nn.init.xavier_normal_(linear.weight)
        else:
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
        nn.init.zeros_(linear.bias)
        layers += [linear, nn.Sigmoid() if sigmoid else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Autoencoder(nn.Module):
    """Four layers down to eight numbers, and four layers back.

    Args:
        sigmoid: Whether hidden layers have sigmoids.
        bounded: Whether the reconstruction is passed through a sigmoid.
        always_noisy: Whether the input is disturbed in evaluation, too.
        flat: Whether the reconstruction lacks the channel that the input has.
        frozen_code: Whether the method that computes codes for others is used in training, too.
    """

    def __init__(
        self, sigmoid: bool, bounded: bool, always_noisy: bool, flat: bool, frozen_code: bool
    ) -> None:
        super().__init__()
        self.bounded, self.always_noisy, self.flat, self.frozen_code = (
            bounded,
            always_noisy,
            flat,
            frozen_code,
        )
        self.encoder = stack([SAMPLES, 64, 48, 32, 8], sigmoid)
        self.decoder = stack([8, 32, 48, 64, SAMPLES], sigmoid)
        nn.init.xavier_normal_(self.decoder[-1].weight, gain=0.3)

    @torch.no_grad()
    def embed(self, pulses: Tensor) -> Tensor:
        """Compute codes `[batch, 8]`, to look at them."""
        return self.encoder(pulses.flatten(1))

    def forward(self, pulses: Tensor) -> Tensor:
        """Map pulses `[batch, 1, 48]` to reconstructions."""
        if self.training or self.always_noisy:
            pulses = pulses + 0.1 * torch.randn_like(pulses)
        code = self.embed(pulses) if self.frozen_code else self.encoder(pulses.flatten(1))
        out = self.decoder(code)
        if self.bounded:
            out = out.sigmoid()
        return out if self.flat else out.unsqueeze(1)


def make_task(
    raw_targets: bool = False,
    sigmoid: bool = False,
    bounded: bool = False,
    always_noisy: bool = False,
    flat: bool = False,
    frozen_code: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        raw_targets: Whether the converter's counts are the targets.
        sigmoid: Whether hidden layers have sigmoids.
        bounded: Whether the output has a sigmoid.
        always_noisy: Whether the noise is on in evaluation, too.
        flat: Whether the output is `[batch, 48]` against a target `[batch, 1, 48]`.
        frozen_code: Whether the code is computed without gradients.
    """
    counts = record_pulses(1200)
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: Autoencoder(sigmoid, bounded, always_noisy, flat, frozen_code),
        train=DataLoader(Pulses(counts[:1000], raw_targets), 50, shuffle=True, generator=generator),
        val=DataLoader(Pulses(counts[1000:], raw_targets), 50),
        loss=nn.MSELoss(),
    )


CASE = Case(
    name="pulse-autoencoder",
    healthy=make_task,
    faults=(
        Fault(
            "reconstruction [batch, 48] against target [batch, 1, 48]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, flat=True),
        ),
        Fault(
            "standardised inputs, but the converter's counts as targets",
            ("target-not-normalised",),
            functools.partial(make_task, raw_targets=True),
        ),
        Fault(
            "a sigmoid on the output for standardised pulses",
            ("cannot-overfit", "target-out-of-range"),
            functools.partial(make_task, bounded=True),
        ),
        Fault(
            "noise added in evaluation, too",
            ("nondeterministic-model",),
            functools.partial(make_task, always_noisy=True),
        ),
        Fault(
            "the encoder called through a method under no_grad",
            ("parameter-without-gradient",),
            functools.partial(make_task, frozen_code=True),
        ),
        Fault(
            "sigmoids in all hidden layers",
            ("vanishing-gradient",),
            functools.partial(make_task, sigmoid=True),
        ),
    ),
)
