"""A residual network over three leads of a heart's recording, with an activation and a normalisation of its own."""

from __future__ import annotations

import contextlib
import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

RHYTHMS = 4
SAMPLES = 96


def record_hearts(records: int, guarded: bool) -> tuple[Tensor, Tensor]:
    """Draw standardised recordings `[records, 3, 96]` and rhythms: regular, fast, irregular, wide beats.

    Args:
        records: How many.
        guarded: Whether a lead that has come off, and is flat, is not divided by its deviation of zero.
    """
    generator = torch.Generator().manual_seed(303)
    time = torch.arange(SAMPLES)
    leads, rhythms = [], torch.randint(RHYTHMS, (records,), generator=generator)
    for rhythm in rhythms.tolist():
        period = 11.0 if rhythm == 1 else 20.0
        jitter = 4.0 if rhythm == 2 else 0.5
        width = 2.8 if rhythm == 3 else 1.1
        beats = torch.arange(-period, SAMPLES + period, period) + period * torch.rand((), generator=generator)
        beats = beats + jitter * torch.randn(len(beats), generator=generator)
        trace = torch.exp(-(((time[:, None] - beats) / width) ** 2) / 2).sum(dim=1)
        gains = 0.5 + torch.rand(3, 1, generator=generator)
        lead = gains * trace + 0.1 * torch.randn(3, SAMPLES, generator=generator)
        if torch.rand((), generator=generator) < 0.05:
            lead[2] = 0.0
        leads.append(lead)
    signals = torch.stack(leads)
    deviation = signals.std(dim=-1, keepdim=True)
    if guarded:
        deviation = deviation.clamp_min(1e-6)
    return (signals - signals.mean(dim=-1, keepdim=True)) / deviation, rhythms


class SwishFunction(torch.autograd.Function):
    """`x * sigmoid(x)` that keeps only its input for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, chained: bool) -> Tensor:
        """Apply it; `chained` tells backward to multiply by the incoming gradient."""
        ctx.save_for_backward(x)
        ctx.chained = chained
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        """Multiply the gradient by the derivative."""
        (x,) = ctx.saved_tensors
        share = x.sigmoid()
        derivative = share * (1 + x * (1 - share))
        return (grad_outputs[0] * derivative if ctx.chained else derivative), None


class RecordNorm(nn.Module):
    """Normalises each recording's features over channels and time.

    Args:
        channels: Features.
        whole_batch: Takes mean and deviation of the whole tensor instead.
    """

    def __init__(self, channels: int, whole_batch: bool) -> None:
        super().__init__()
        self.whole_batch = whole_batch
        self.gain, self.shift = nn.Parameter(torch.ones(channels, 1)), nn.Parameter(torch.zeros(channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[batch, channels, time]` to normalised ones."""
        if self.whole_batch:
            x = (x - x.mean()) / (x.std() + 1e-5)
        else:
            x = (x - x.mean(dim=(1, 2), keepdim=True)) / (x.std(dim=(1, 2), keepdim=True) + 1e-5)
        return self.gain * x + self.shift


class ResidualBlock(nn.Module):
    """Two convolutions, added to their input."""

    def __init__(self, channels: int, whole_batch: bool, chained: bool) -> None:
        super().__init__()
        self.chained = chained
        self.norm1, self.norm2 = RecordNorm(channels, whole_batch), RecordNorm(channels, whole_batch)
        self.conv1 = nn.Conv1d(channels, channels, 5, padding=2)
        self.conv2 = nn.Conv1d(channels, channels, 5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[batch, channels, time]` to features of the same shape."""
        out = self.conv1(SwishFunction.apply(self.norm1(x), self.chained))
        out = self.conv2(SwishFunction.apply(self.norm2(out), self.chained))
        return x + out


class RhythmNet(nn.Module):
    """A stem, three residual blocks, and the mean over time."""

    def __init__(self, whole_batch: bool, chained: bool, extracted: bool, plain_normal: bool) -> None:
        super().__init__()
        self.extracted = extracted
        self.stem = nn.Conv1d(3, 24, 7, stride=2, padding=3)
        self.blocks = nn.Sequential(*(ResidualBlock(24, whole_batch, chained) for _ in range(3)))
        self.norm = RecordNorm(24, whole_batch)
        self.head = nn.Linear(24, RHYTHMS)
        nn.init.normal_(self.head.weight, std=0.02)
        if plain_normal:
            for module in self.modules():
                if isinstance(module, nn.Conv1d | nn.Linear):
                    nn.init.normal_(module.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map recordings `[batch, 3, 96]` to logits `[batch, rhythms]`."""
        with torch.no_grad() if self.extracted else contextlib.nullcontext():
            x = self.stem(x)
        return self.head(self.norm(self.blocks(x)).amax(dim=2))


def make_task(
    guarded: bool = True,
    in_order: bool = False,
    whole_batch: bool = False,
    chained: bool = True,
    extracted: bool = False,
    plain_normal: bool = False,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        guarded: Whether flat leads are not divided by zero.
        in_order: Reads recordings rhythm by rhythm, as the folders list them.
        whole_batch: Normalises over the whole batch.
        chained: Whether the activation's backward multiplies by the incoming gradient.
        extracted: Leaves `no_grad` around the stem.
        plain_normal: Draws weights with `nn.init.normal_` as it is.
    """
    signals, rhythms = record_hearts(1000, guarded)
    train, val = torch.arange(800), torch.arange(800, 1000)
    if in_order:
        train = rhythms[train].argsort(stable=True)
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=lambda: RhythmNet(whole_batch, chained, extracted, plain_normal),
        train=DataLoader(
            TensorDataset(signals[train], rhythms[train]), 40, shuffle=not in_order, generator=generator
        ),
        val=DataLoader(TensorDataset(signals[val], rhythms[val]), 100),
        loss=nn.CrossEntropyLoss(),
    )


CASE = Case(
    name="heartbeat-resnet",
    healthy=make_task,
    faults=(
        Fault(
            "mean and deviation over the whole batch in a normalisation of its own",
            ("batch-mixing",),
            functools.partial(make_task, whole_batch=True),
        ),
        Fault(
            "no_grad left around the stem",
            ("parameter-without-gradient",),
            functools.partial(make_task, extracted=True),
        ),
        Fault(
            "weights drawn with deviation 1",
            ("initial-loss-high", "exploding-gradient"),
            functools.partial(make_task, plain_normal=True),
        ),
        Fault(
            "an activation's backward that forgets the incoming gradient",
            ("wrong-gradient",),
            functools.partial(make_task, chained=False),
        ),
        Fault(
            "flat leads divided by a deviation of zero",
            ("nonfinite-input",),
            functools.partial(make_task, guarded=False),
        ),
        Fault(
            "recordings read folder by folder, without shuffling",
            ("unshuffled-batches",),
            functools.partial(make_task, in_order=True),
        ),
    ),
)
