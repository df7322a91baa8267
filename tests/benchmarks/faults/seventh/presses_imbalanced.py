"""Rare defects of pressed parts; the rare class is repeated, focal loss by hand, one logit a part."""

from __future__ import annotations

import functools
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

SENSORS = 14
DEFECT = 0.02


def press_parts(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Draw standardised readings `[count, 14]` and whether the part is defective, as floats."""
    generator = torch.Generator().manual_seed(seed)
    readings = torch.randn(count, SENSORS, generator=generator)
    defective = torch.rand(count, generator=generator) < DEFECT
    readings[defective, :4] += torch.tensor([1.5, -1.5, 1.0, 2.0])
    return readings, defective.float()


def repeat_defects(readings: Tensor, defective: Tensor, bug: str) -> tuple[Tensor, Tensor]:
    """Repeat the defective parts until there are as many as sound ones."""
    sound, rare = readings[defective == 0], readings[defective == 1]
    times = 1 if bug == "not repeated" else len(sound) // len(rare)
    parts = [sound, rare.repeat(times, 1)]
    labels = [torch.zeros(len(sound)), torch.ones(times * len(rare))]
    if (
        bug == "both verdicts"
    ):  # joined with the log of inspections: sound at the first, defective at the second
        parts.append(rare.repeat(times, 1))
        labels.append(torch.zeros(times * len(rare)))
    return torch.cat(parts), torch.cat(labels)


def focal_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Compute the focal loss with an exponent of 2."""
    chance = torch.sigmoid(logits)
    right = target * chance + (1 - target) * (1 - chance)
    return (-((1 - right) ** 2) * torch.log(right.clamp(min=1e-7))).mean()


class ClearingSGD(torch.optim.SGD):
    """SGD that clears the gradients before it steps."""

    def step(self, closure: Any = None) -> Any:
        """Clear the gradients and step."""
        self.zero_grad()
        return super().step(closure)


def build(bug: str) -> nn.Module:
    """Build a perceptron with one output."""
    layers: list[nn.Module] = [nn.Linear(SENSORS, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    layers.append(nn.Linear(32, 1))
    if bug == "softmax":
        layers.append(nn.Softmax(dim=1))
    if bug != "column":
        layers.append(nn.Flatten(0))
    return nn.Sequential(*layers)


def optimise(model: nn.Module, lr: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build SGD with Nesterov's momentum."""
    kind = ClearingSGD if bug == "cleared" else torch.optim.SGD
    return kind(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=weight_decay)


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    train = TensorDataset(*repeat_defects(*press_parts(1500, seed=50), bug))
    val = TensorDataset(*press_parts(400, seed=51))
    generator = torch.Generator().manual_seed(52)
    return lrtune.Task(
        model=lambda: build(bug),
        train=DataLoader(train, 64, shuffle=bug != "in order", generator=generator),
        val=DataLoader(val, 64),
        loss=focal_loss,
        optimizer=functools.partial(optimise, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="presses-imbalanced",
    healthy=make_task,
    faults=(
        # Humbatova 2020, "unbalanced training data"; 37 reasons "too much class imbalance".
        fault("the rare class is not repeated: 2% defects", "not repeated", "class-imbalance"),
        # stats.stackexchange 481881; DeepFD and UMLAUT: softmax on one neuron is always 1.
        fault("a softmax over the single output", "softmax", "input-ignored", "double-softmax"),
        # Islam 2019, tensor shapes; Stack Overflow: [batch, 1] broadcast with [batch] in a loss of one's own.
        fault(
            "own loss of a column and a row",
            "column",
            "broadcast-target",
            "target-shape-mismatch",
        ),
        # Humbatova 2020, "wrong labels for training data"; a join that keeps two verdicts a part.
        fault("each repeated defect is listed as sound, too", "both verdicts", "conflicting-labels"),
        # 37 reasons "shuffle"; MAC-AutoML/rethinking_performance_estimation_in_NAS#17.
        fault("sound parts first, then defects, without shuffle", "in order", "unshuffled-batches"),
        # Karpathy, "most common neural net mistakes": zero_grad; PyTorch forum, between backward and step.
        fault("gradients are cleared before the step", "cleared", "optimizer-does-not-step"),
    ),
)
