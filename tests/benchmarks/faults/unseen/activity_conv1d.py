"""What somebody is doing, from windows of an accelerometer: 1-D convolutions with batch normalisation."""

from __future__ import annotations

import functools
import itertools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset

import lrtune

STEPS = 60
ACTIVITIES = ("still", "walk", "run", "stairs", "cycle")
RHYTHM = (0.0, 2.0, 3.0, 1.6, 1.2)  # per window, in turns of 15 samples
STRENGTH = ((0.0, 0.0, 0.0), (1.0, 0.6, 0.3), (2.0, 1.0, 0.8), (0.8, 1.2, 0.4), (0.3, 0.5, 1.4))


class Recordings(Dataset[tuple[Tensor, int]]):
    """Windows `[STEPS, axes]` of recordings, with the activity.

    Args:
        gaps: Leaves the samples that the sensor missed as NaN, as in the files.
        with_label: Reads the activity's column along with the three axes.
        windows: How many.
    """

    def __init__(self, gaps: bool = False, with_label: bool = False, windows: int = 1200) -> None:
        generator = torch.Generator().manual_seed(41)
        self.labels = torch.randint(len(ACTIVITIES), (windows,), generator=generator)
        phase = 2 * math.pi * torch.rand(windows, 1, 3, generator=generator)
        pace = torch.tensor(RHYTHM)[self.labels] * (1 + 0.1 * torch.randn(windows, generator=generator))
        time = torch.arange(STEPS).view(1, -1, 1) / 15
        angle = 2 * math.pi * pace.view(-1, 1, 1) * time / 2 + phase
        strength = torch.tensor(STRENGTH)[self.labels].unsqueeze(1)
        movement = strength * (angle.sin() + 0.3 * (2 * angle).sin())
        noise = 0.5 * torch.randn(windows, STEPS, 3, generator=generator)
        signals = movement + noise + torch.tensor([0.0, 0.0, 9.8])
        self.signals = (signals - signals.mean(dim=(0, 1))) / signals.std(dim=(0, 1))
        missed = torch.rand(windows, STEPS, generator=generator) < 0.001
        self.signals[missed] = math.nan if gaps else 0.0
        if with_label:
            column = self.labels.view(-1, 1, 1).expand(-1, STEPS, 1) / (len(ACTIVITIES) - 1)
            self.signals = torch.cat([self.signals, column], dim=2)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.signals[index], int(self.labels[index])


def collate(
    windows: list[tuple[Tensor, int]], batch_first: bool = True, label_type: torch.dtype = torch.long
) -> tuple[Tensor, Tensor]:
    """Batch windows and labels.

    Args:
        windows: Of one batch.
        batch_first: Whether examples come before time, which is not `pad_sequence`'s default.
        label_type: Of the labels.
    """
    signals = pad_sequence([signal for signal, _ in windows], batch_first=batch_first)
    return signals, torch.tensor([label for _, label in windows], dtype=label_type)


class ConvNet(nn.Module):
    """Three convolutions over time and a linear layer over their maxima.

    Args:
        axes: Signals of the sensor.
        swapped: Gives the normalisation's momentum and epsilon in the other framework's order.
        numpy_pool: Takes the maxima in NumPy.
    """

    def __init__(self, axes: int, swapped: bool = False, numpy_pool: bool = False) -> None:
        super().__init__()
        self.numpy_pool = numpy_pool
        constants = (0.1, 1e-5) if swapped else (1e-5, 0.1)
        widths = [axes, 16, 32, 48]
        self.features = nn.Sequential()
        for inputs, outputs in itertools.pairwise(widths):
            self.features.append(nn.Conv1d(inputs, outputs, 5, stride=2, padding=2, bias=False))
            self.features.append(nn.BatchNorm1d(outputs, *constants))
            self.features.append(nn.ReLU())
        self.classifier = nn.Linear(widths[-1], len(ACTIVITIES))

    def forward(self, signals: Tensor) -> Tensor:
        """Map signals `[batch, time, axes]` to logits `[batch, 5]`."""
        features = self.features(signals.transpose(1, 2))
        if self.numpy_pool:
            pooled = torch.from_numpy(features.detach().cpu().numpy().max(axis=2)).to(signals.device)
        else:
            pooled = features.amax(dim=2)
        return self.classifier(pooled)


class SmoothedLoss(nn.Module):
    """Cross entropy against smoothed labels.

    Args:
        divide_again: Divides the mean by the size of the batch.
    """

    def __init__(self, divide_again: bool) -> None:
        super().__init__()
        self.divide_again = divide_again
        self.cross_entropy = nn.CrossEntropyLoss(label_smoothing=0.05)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the loss."""
        loss = self.cross_entropy(logits, labels)
        return loss / len(labels) if self.divide_again else loss


def make_task(
    gaps: bool = False,
    with_label: bool = False,
    batch_first: bool = True,
    label_type: torch.dtype = torch.long,
    divide_again: bool = False,
    **net: bool,
) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program.

    Args:
        gaps: Argument of `Recordings`.
        with_label: Argument of `Recordings`.
        batch_first: Argument of `collate`.
        label_type: Argument of `collate`.
        divide_again: Argument of `SmoothedLoss`.
        net: Arguments of `ConvNet`.
    """
    recordings = Recordings(gaps, with_label)
    loader = DataLoader(
        recordings,
        batch_size=40,
        shuffle=True,
        collate_fn=functools.partial(collate, batch_first=batch_first, label_type=label_type),
        generator=torch.Generator().manual_seed(2),
    )
    return lrtune.Task(
        model=lambda: ConvNet(recordings.signals.shape[2], **net),
        train=loader,
        loss=SmoothedLoss(divide_again),
        optimizer=lambda model, learning_rate, weight_decay: torch.optim.RMSprop(
            model.parameters(), lr=learning_rate, weight_decay=weight_decay
        ),
    )


CASE = Case(
    name="activity-conv1d",
    healthy=make_task,
    faults=(
        Fault(
            "pad_sequence puts time before the examples",
            ("target-shape-mismatch", "batch-mixing"),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "labels as floats for cross entropy",
            ("target-dtype",),
            functools.partial(make_task, label_type=torch.float32),
        ),
        Fault(
            "batch norm's momentum and epsilon swapped",
            ("train-eval-gap",),
            functools.partial(make_task, swapped=True),
        ),
        Fault(
            "pooling in NumPy cuts the gradient",
            ("parameter-without-gradient",),
            functools.partial(make_task, numpy_pool=True),
        ),
        Fault(
            "missed samples left as NaN",
            ("nonfinite-input",),
            functools.partial(make_task, gaps=True),
        ),
        Fault(
            "the activity's column among the signals",
            ("target-leak",),
            functools.partial(make_task, with_label=True),
        ),
        Fault(
            "mean loss divided by the batch size",
            ("loss-not-mean",),
            functools.partial(make_task, divide_again=True),
        ),
    ),
)
