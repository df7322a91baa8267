"""A residual net for spoken keywords as spectrograms; examples collated by hand, SGD with groups of its own."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

KEYWORDS = 6
BANDS, FRAMES = 16, 20


def record_keywords(recordings: int) -> list[tuple[Tensor, int]]:
    """Draw standardised spectrograms `[1, bands, frames]`, each with its keyword."""
    generator = torch.Generator().manual_seed(12)
    time = torch.linspace(0, 1, FRAMES)
    bands = torch.arange(BANDS).view(-1, 1)
    examples = []
    for _ in range(recordings):
        keyword = int(torch.randint(KEYWORDS, (), generator=generator))
        shift = 0.15 * torch.randn((), generator=generator)
        pitch = 8 + 5 * torch.sin(
            2 * math.pi * (0.4 + 0.3 * (keyword % 3)) * (time + shift) + (keyword // 3) * math.pi
        )
        energy = torch.exp(-((bands - pitch) ** 2) / 4) + 0.35 * torch.randn(
            BANDS, FRAMES, generator=generator
        )
        examples.append((((energy - 0.2) / 0.45).unsqueeze(0), keyword))
    return examples


def collate(examples: list[tuple[Tensor, int]], as_floats: bool = False) -> tuple[Tensor, Tensor]:
    """Stack spectrograms and labels."""
    labels = [label for _, label in examples]
    return torch.stack([sound for sound, _ in examples]), (torch.Tensor if as_floats else torch.tensor)(
        labels
    )


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.one = nn.Conv2d(before, after, 3, padding=1, bias=False)
        self.two = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm_one, self.norm_two = nn.BatchNorm2d(after), nn.BatchNorm2d(after)
        project = nn.Conv2d(before, after, 1) if before != after else nn.Identity()
        self.shortcut = {"project": project} if bug == "dict" else nn.ModuleDict({"project": project})

    def branch(self, x: Tensor) -> Tensor:
        """Compute what is added to the shortcut."""
        return self.norm_two(self.two(torch.relu(self.norm_one(self.one(x)))))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, before, bands, frames]` to `[batch, after, bands, frames]`."""
        if self.bug == "no_grad":
            with torch.no_grad():
                added = self.branch(x)
        else:
            added = self.branch(x)
        return torch.relu(self.shortcut["project"](x) + added)


def build_plain(depth: int = 24) -> nn.Module:
    """Build a deep net without shortcuts or normalisation, with weights as small as an old tutorial draws them."""
    layers: list[nn.Module] = [nn.Conv2d(1, 12, 3, padding=1)]
    for _ in range(depth):
        layers += [nn.Tanh(), nn.Conv2d(12, 12, 3, padding=1)]
    for layer in layers[::2]:
        nn.init.normal_(layer.weight, std=0.02)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, KEYWORDS))


def build(bug: str) -> nn.Module:
    """Build the residual net."""
    if bug == "plain":
        return build_plain()
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 12, 3, padding=1))
    model.add_module("block1", Block(12, 12, bug))
    model.add_module("pool1", nn.MaxPool2d(2))
    model.add_module("block2", Block(12, 24, bug))
    model.add_module("pool2", nn.AdaptiveAvgPool2d((2, 2)))
    model.add_module("flat", nn.Flatten())
    model.add_module("classifier", nn.Linear(96, KEYWORDS))
    return model


def by_groups(model: nn.Module, learning_rate: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build SGD that decays matrices and kernels only; the bug sorts by names that the head does not have."""
    decayed, plain = [], []
    for name, parameter in model.named_parameters():
        if bug == "groups":
            if "block" in name and parameter.ndim > 1:
                decayed.append(parameter)
            elif "block" in name or "stem" in name:
                plain.append(parameter)
        else:
            (decayed if parameter.ndim > 1 else plain).append(parameter)
    groups = [{"params": decayed, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    return torch.optim.SGD(groups, lr=learning_rate, momentum=0.9, nesterov=True)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    examples = record_keywords(640)
    generator = torch.Generator().manual_seed(4)
    join = functools.partial(collate, as_floats=bug == "floats")
    return lrtune.Task(
        model=lambda: build(bug),
        train=DataLoader(examples[:512], 32, shuffle=True, collate_fn=join, generator=generator),
        val=DataLoader(examples[512:], 32, collate_fn=join),
        loss=nn.functional.nll_loss if bug == "nll" else nn.functional.cross_entropy,
        metrics={"accuracy": lambda logits, labels: (logits.argmax(1) == labels).float().mean()},
        optimizer=functools.partial(by_groups, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="keywords-resnet",
    healthy=make_task,
    faults=(
        fault(
            "the optimizer's groups are sorted by names that leave out the head",
            "groups",
            "parameter-not-in-optimizer",
        ),
        fault("shortcuts in a plain dict", "dict", "unregistered-parameter"),
        fault("logits given to nll_loss without log_softmax", "nll", "initial-loss-low"),
        fault("labels collated with torch.Tensor", "floats", "target-dtype"),
        fault(
            "25 layers without shortcut or normalisation, weights of deviation 0.02",
            "plain",
            "vanishing-gradient",
        ),
        fault("no_grad around the residual branches", "no_grad", "parameter-without-gradient"),
    ),
)
