"""Which part of a machine fails, and how soon: one trunk, two heads, the sum of two losses."""

from __future__ import annotations

import functools
import itertools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import lrtune

SENSORS = 10
PARTS = 4
# In volts, revolutions per minute, degrees, millimetres per second, ...
TYPICAL = torch.tensor([400.0, 1500.0, 70.0, 0.02, 5.0, 12.0, 0.9, 230.0, 35.0, 1.5])
SPREAD = torch.tensor([8.0, 120.0, 9.0, 0.006, 0.7, 2.0, 0.05, 4.0, 6.0, 0.3])


def record_machines(
    normalise: str, label_column: bool, hours: bool, machines: int = 1500
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw sensors `[machines, 10]`, failing parts and standardised times to failure `[machines]`.

    Args:
        normalise: `columns`, or `rows` for each machine over its own sensors.
        label_column: Keeps the parts as a column `[machines, 1]`.
        hours: Keeps the times in hours.
        machines: How many.
    """
    generator = torch.Generator().manual_seed(31)
    hidden = torch.randn(machines, SENSORS, generator=generator)
    mixing = torch.randn(SENSORS, PARTS, generator=generator)
    stress = torch.tanh(hidden @ mixing / 2) + 0.5 * hidden[:, :PARTS] * hidden[:, PARTS : 2 * PARTS]
    parts = stress.argmax(dim=1)
    times = 2000 * torch.exp(-0.5 * stress.amax(dim=1) - 0.3 * hidden[:, 8])
    sensors = TYPICAL + SPREAD * hidden
    dim = 0 if normalise == "columns" else 1
    sensors = (sensors - sensors.mean(dim, keepdim=True)) / sensors.std(dim, keepdim=True)
    if not hours:
        times = (times - times.mean()) / times.std()
    return sensors, parts.unsqueeze(1) if label_column else parts, times


class TwoHeads(nn.Module):
    """A trunk that both heads read.

    Args:
        column: Leaves the time's output `[batch, 1]`.
        sigmoid: Activates the trunk by sigmoids.
        inline_head: Builds the time's last layer where it is used.
    """

    def __init__(self, column: bool = False, sigmoid: bool = False, inline_head: bool = False) -> None:
        super().__init__()
        self.column, self.inline_head = column, inline_head
        widths = [SENSORS, 64, 64, 64, 64, 64]
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            linear = nn.Linear(inputs, outputs)
            if not sigmoid:
                nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            layers += [linear, nn.Sigmoid() if sigmoid else nn.ReLU()]
        self.trunk = nn.Sequential(*layers)
        self.part = nn.Linear(64, PARTS)
        if not inline_head:
            self.time = nn.Linear(64, 1)

    def forward(self, sensors: Tensor) -> tuple[Tensor, Tensor]:
        """Map sensors `[batch, 10]` to logits `[batch, 4]` and a time each."""
        features = self.trunk(sensors)
        time = nn.Linear(64, 1)(features) if self.inline_head else self.time(features)
        return self.part(features), time if self.column else time.squeeze(1)


def joint_step(
    model: nn.Module, batch: tuple[Tensor, Tensor, Tensor], as_number: bool = False
) -> dict[str, Tensor]:
    """Return the sum of both losses.

    Args:
        model: With two heads.
        batch: Sensors, parts and times.
        as_number: Adds the time's loss as a Python number.
    """
    sensors, parts, times = batch
    logits, guessed = model(sensors)
    part_loss = functional.cross_entropy(logits, parts)
    time_loss = functional.mse_loss(guessed, times)
    loss = part_loss + (time_loss.item() if as_number else time_loss)
    return {"loss": loss, "part_loss": part_loss.detach(), "time_loss": time_loss.detach()}


def make_task(
    normalise: str = "columns",
    label_column: bool = False,
    hours: bool = False,
    as_number: bool = False,
    **net: bool,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        normalise: Argument of `record_machines`.
        label_column: Argument of `record_machines`.
        hours: Argument of `record_machines`.
        as_number: Argument of `joint_step`.
        net: Arguments of `TwoHeads`.
    """
    return lrtune.Task(
        model=lambda: TwoHeads(**net),
        train=TensorDataset(*record_machines(normalise, label_column, hours)),
        step=functools.partial(joint_step, as_number=as_number),
    )


CASE = Case(
    name="machine-multitask",
    healthy=make_task,
    faults=(
        Fault(
            "time's output [batch, 1] against target [batch]",
            ("target-shape-mismatch", "broadcast-target"),
            functools.partial(make_task, column=True),
        ),
        Fault(
            "labels as a column [batch, 1] for cross entropy",
            ("target-shape-mismatch",),
            functools.partial(make_task, label_column=True),
        ),
        Fault(
            "one of the two losses added as .item()",
            ("parameter-without-gradient", "detached-loss"),
            functools.partial(make_task, as_number=True),
        ),
        Fault(
            "a layer built anew in every forward",
            ("unregistered-parameter", "nondeterministic-model"),
            functools.partial(make_task, inline_head=True),
        ),
        Fault(
            "five layers of sigmoids",
            ("vanishing-gradient",),
            functools.partial(make_task, sigmoid=True),
        ),
        Fault(
            "time in hours beside a log loss",
            ("target-not-normalised",),
            functools.partial(make_task, hours=True),
        ),
        Fault(
            "rows standardised instead of columns",
            ("input-not-normalised",),
            functools.partial(make_task, normalise="rows"),
        ),
    ),
)
