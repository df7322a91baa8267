"""The pitch of short noisy tones: a GRU that regresses one number, in a training step of its own."""

from __future__ import annotations

import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

STEPS = 32


def make_tones(count: int, in_hertz: bool = False, in_bits: bool = False) -> TensorDataset:
    """Draw tones `[count, STEPS, 1]` and their standardised pitches `[count]`."""
    draw = torch.Generator().manual_seed(51)
    hertz = 200 + 800 * torch.rand(count, 1, generator=draw)
    phase = 2 * math.pi * torch.rand(count, 1, generator=draw)
    time = torch.arange(STEPS) / 8000
    tones = (2 * math.pi * hertz * time + phase).sin() + 0.1 * torch.randn(count, STEPS, generator=draw)
    tones = tones / tones.std()
    if in_bits:
        tones = (tones * 8000).round()
    pitch = hertz.squeeze(1)
    if not in_hertz:
        pitch = (pitch - pitch.mean()) / pitch.std()
    return TensorDataset(tones.unsqueeze(-1), pitch)


class Listener(nn.Module):
    """A recurrent network and a linear readout of its last state."""

    def __init__(self, hidden: int = 32, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.rnn = nn.GRU(1, hidden, batch_first=bug != "batch_first")
        self.readout = nn.Linear(hidden, 1)

    def forward(self, tones: Tensor) -> Tensor:
        """Map `[batch, STEPS, 1]` to pitches `[batch]`."""
        states, _ = self.rnn(tones)
        last = states[-1] if self.bug == "last of the batch" else states[:, -1]
        pitch = self.readout(last)
        return pitch if self.bug == "column" else pitch.squeeze(-1)


def make_task(bug: str = "", in_hertz: bool = False, in_bits: bool = False) -> lrtune.Task:
    """Describe the training."""

    def step(model: nn.Module, batch: list[Tensor]) -> dict[str, Tensor]:
        tones, pitch = batch
        guess = model(tones)
        if bug == "logarithm":
            loss = ((guess.log() - pitch.log()) ** 2).mean()
        elif bug == "column":
            # The same as mse_loss, without its warning of two shapes.
            loss = ((guess - pitch) ** 2).mean()
        else:
            loss = nn.functional.mse_loss(guess, pitch, reduction="none" if bug == "unreduced" else "mean")
        if bug == "item":
            loss = torch.tensor(loss.item(), requires_grad=True)
        return {"loss": loss, "output": guess, "target": pitch}

    train = DataLoader(
        make_tones(1280, in_hertz, in_bits),
        batch_size=32,
        shuffle=True,
        drop_last=True,
        generator=torch.Generator().manual_seed(52),
    )
    return lrtune.Task(model=lambda: Listener(bug=bug), train=train, step=step)


CASE = Case(
    name="pitch GRU",
    healthy=make_task,
    faults=(
        Fault("GRU without batch_first", ("batch-mixing",), lambda: make_task("batch_first")),
        Fault(
            "states of the last tone, not the last states",
            ("batch-mixing",),
            lambda: make_task("last of the batch"),
        ),
        Fault(
            "output a column, target a row",
            ("target-shape-mismatch", "broadcast-target"),
            lambda: make_task("column"),
        ),
        Fault("logarithm of what may be negative", ("nonfinite-loss",), lambda: make_task("logarithm")),
        Fault("one loss per example", ("loss-not-scalar",), lambda: make_task("unreduced")),
        Fault("loss rebuilt from its number", ("detached-loss",), lambda: make_task("item")),
        Fault("pitch in hertz", ("target-not-normalised",), lambda: make_task(in_hertz=True)),
        Fault("samples as 16-bit integers", ("input-not-normalised",), lambda: make_task(in_bits=True)),
    ),
    config={"optimizer": {"name": "adam"}},
)
