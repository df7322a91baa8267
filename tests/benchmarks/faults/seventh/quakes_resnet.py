"""A residual net on three channels of seismograms; batches are dicts, SGD has its own groups."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

EVENTS = ("earthquake", "blast", "train", "tremor")
SAMPLES = 80


def record(count: int) -> tuple[Tensor, Tensor]:
    """Draw seismograms in digitiser counts `[count, 3, samples]` and the kind of event."""
    generator = torch.Generator().manual_seed(1906)
    kinds = torch.randint(len(EVENTS), (count,), generator=generator)
    time = torch.linspace(0, 1, SAMPLES)
    traces = []
    for kind in kinds.tolist():
        begin = 0.1 + 0.25 * torch.rand((), generator=generator)
        phase = 2 * math.pi * torch.rand(3, 1, generator=generator)
        late = (time - begin).clamp(min=0)
        started = (time > begin).float()
        if kind == 0:
            shape = started * (late < 0.3) * 0.5 + (late > 0.3) * torch.exp(-4 * (late - 0.3).clamp(min=0))
            wave = shape * torch.sin(50 * time + phase)
        elif kind == 1:
            wave = started * torch.exp(-14 * late) * torch.sin(90 * time + phase)
        elif kind == 2:
            wave = torch.exp(-20 * (time - 0.5) ** 2) * torch.sin(25 * time + phase)
        else:
            wave = 0.5 * torch.sin((20 + 60 * time) * time + phase)
        traces.append(wave + 0.15 * torch.randn(3, SAMPLES, generator=generator))
    return 24_000 * torch.stack(traces) + 1_500, kinds


class Seismograms(Dataset[dict[str, Tensor]]):
    """Seismograms as dicts."""

    def __init__(self, traces: Tensor, kinds: Tensor) -> None:
        self.traces, self.kinds = traces, kinds

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.kinds)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return one of them."""
        return {"trace": self.traces[index], "event": self.kinds[index]}


class Residual(nn.Module):
    """Two convolutions over time beside the identity."""

    def __init__(self, width: int, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.body = nn.Sequential(
            nn.Conv1d(width, width, 5, padding=2),
            nn.GroupNorm(4, width),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, padding=2),
            nn.GroupNorm(4, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, width, time]` to the same shape."""
        added = self.body(x)
        return torch.relu(x + (added.detach() if self.bug == "detach" else added))


class QuakeNet(nn.Module):
    """A stem, three residual blocks with pooling, and a head."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.stem = nn.Conv1d(3, 24, 7, stride=2, padding=3)
        self.stages = nn.Sequential(
            Residual(24, bug), nn.MaxPool1d(2), Residual(24, bug), nn.MaxPool1d(2), Residual(24, bug)
        )
        self.head = nn.Linear(240, len(EVENTS))

    def forward(self, trace: Tensor) -> Tensor:
        """Map traces `[batch, 3, samples]` to logits."""
        return self.head(self.stages(torch.relu(self.stem(trace))).flatten(1))


def step(model: nn.Module, batch: dict[str, Tensor], bug: str) -> dict[str, Tensor]:
    """Compute the loss of a batch of dicts."""
    logits = model(batch["trace"])
    if bug == "nll":
        loss = nn.functional.nll_loss(logits, batch["event"])
    else:
        reduction = "sum" if bug == "sum" else "mean"
        loss = nn.functional.cross_entropy(logits, batch["event"], reduction=reduction)
    return {"loss": loss, "output": logits, "target": batch["event"]}


def optimise(model: QuakeNet, learning_rate: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build SGD, with decay for kernels and matrices only."""
    if bug == "head only":
        return torch.optim.SGD(model.head.parameters(), lr=learning_rate, momentum=0.9)
    flat = [p for p in model.parameters() if p.ndim == 1]
    wide = [p for p in model.parameters() if p.ndim > 1]
    groups = [{"params": wide, "weight_decay": weight_decay}, {"params": flat, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    traces, kinds = record(900)
    if bug != "counts":
        traces = (traces - traces.mean(dim=(0, 2), keepdim=True)) / traces.std(dim=(0, 2), keepdim=True)
    if bug == "unlabelled":
        kinds[::12] = -1
    return lrtune.Task(
        model=lambda: QuakeNet(bug),
        train=Seismograms(traces[:750], kinds[:750]),
        val=Seismograms(traces[750:], kinds[750:]),
        step=functools.partial(step, bug=bug),
        optimizer=functools.partial(optimise, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="quakes-resnet",
    healthy=make_task,
    faults=(
        # PyTorch forum, optimizer left from feature extraction; UKPLab/sentence-transformers#2872.
        fault("the optimizer is given the head alone", "head only", "parameter-not-in-optimizer"),
        # Humbatova 2020, "wrong loss function calculation"; pytorch/pytorch#10148 (sum for mean).
        fault("the loss is summed over the batch", "sum", "loss-not-mean"),
        # PyTorch forum, "detach stops the gradient"; Islam 2019, logic of the model.
        fault("the residual branch is detached", "detach", "parameter-without-gradient"),
        # PyTorch forum, "negative loss with NLLLoss": log_softmax is missing; NeuraLint.
        fault("nll_loss of logits", "nll", "initial-loss-low"),
        # 37 reasons; Holden's list, "you forgot to normalize your data".
        fault("seismograms in the digitiser's counts", "counts", "input-not-normalised"),
        # PyTorch forum, "Assertion t >= 0 && t < n_classes": -1 for unlabelled; Humbatova 2020, "wrong labels".
        fault("every twelfth event is labelled -1, unknown", "unlabelled", "target-out-of-range"),
    ),
)
