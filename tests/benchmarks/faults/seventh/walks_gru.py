"""A GRU that names the figure which a turtle walks; sequences of several lengths, padded by a collate function."""

from __future__ import annotations

import functools
import math

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import lrtune

FIGURES = 5
LONGEST = 24


def walk(count: int) -> list[tuple[Tensor, int]]:
    """Draw walks `[time, 3]` of steps to the east, to the north and a mark for the start."""
    generator = torch.Generator().manual_seed(17)
    walks = []
    for _ in range(count):
        figure = int(torch.randint(FIGURES, (), generator=generator))
        time = torch.arange(int(torch.randint(14, LONGEST, (), generator=generator))).float()
        heading = 2 * math.pi * torch.rand((), generator=generator)
        turn = (
            0.4 * time,
            -0.4 * time,
            0.9 * torch.sign(torch.sin(time)),
            0.03 * time**2,
            torch.zeros(len(time)),
        )[figure]
        angle = heading + turn + 0.1 * torch.randn(len(time), generator=generator)
        moves = torch.stack([angle.cos(), angle.sin(), torch.zeros(len(time))], dim=1) * 1.4
        walks.append((torch.cat([torch.tensor([[0.0, 0.0, 1.0]]), moves]), figure))
    return walks


def collate(examples: list[tuple[Tensor, int]], padding: float) -> dict[str, Tensor]:
    """Pad walks to the longest that there is."""
    moves = [moves for moves, _ in examples]
    moves.append(torch.zeros(LONGEST, 3))
    return {
        "moves": pad_sequence(moves, batch_first=True, padding_value=padding)[:-1],
        "lengths": torch.tensor([len(moves) for moves, _ in examples]),
        "figure": torch.tensor([figure for _, figure in examples]),
    }


class Walker(nn.Module):
    """A GRU whose state at the last step is classified."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.gru = nn.GRU(3, 48, batch_first=bug != "time first")
        self.out = nn.Linear(48, FIGURES)
        self.state: Tensor | None = None
        if bug == "normal":
            for parameter in self.gru.parameters():
                nn.init.normal_(parameter)

    def forward(self, moves: Tensor, lengths: Tensor) -> Tensor:
        """Map walks `[batch, time, 3]` to logits."""
        state = None
        if self.bug == "state" and self.state is not None and self.state.size(1) == len(moves):
            state = self.state
        states, last = self.gru(moves, state)
        if self.bug == "state":
            self.state = last.detach()
        place = torch.zeros_like(lengths) if self.bug == "first" else lengths - 1
        summary = states[torch.arange(len(moves)), place]
        logits = self.out(summary)
        return logits.softmax(dim=-1) if self.bug == "softmax" else logits


def step(model: Walker, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Compute loss and accuracy of a batch."""
    logits = model(batch["moves"], batch["lengths"])
    figure = batch["figure"]
    return {
        "loss": nn.functional.cross_entropy(logits, figure),
        "accuracy": (logits.argmax(dim=1) == figure).float().mean(),
        "output": logits,
        "target": figure,
    }


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    walks = walk(800)
    join = functools.partial(collate, padding=float("nan") if bug == "nan" else 0.0)
    generator = torch.Generator().manual_seed(2)
    return lrtune.Task(
        model=lambda: Walker(bug),
        train=DataLoader(walks[:640], 32, shuffle=True, collate_fn=join, generator=generator),
        val=DataLoader(walks[640:], 32, collate_fn=join),
        step=step,
        optimizer=lambda model, lr, decay: torch.optim.Adam(model.parameters(), lr=lr, weight_decay=decay),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="walks-gru",
    healthy=make_task,
    faults=(
        # yunjey/pytorch-tutorial#89 and #196, pytorch/pytorch#1538: accuracy 11% without batch_first.
        fault("batch_first is missing", "time first", "batch-mixing"),
        # PyTorch forum, "which output of a bidirectional GRU" (79498): the wrong end is taken.
        fault("the first state is classified, before any step", "first", "input-ignored"),
        # PyTorch forum, "when to reset the hidden state".
        fault("the state is kept from batch to batch", "state", "nondeterministic-model"),
        # Humbatova 2020, "missing preprocessing"; 37 reasons, "check for NaN".
        fault("walks are padded with NaN", "nan", "nonfinite-input"),
        # Humbatova 2020, "wrong weights initialisation"; AutoTrainer, exploding gradient.
        fault(
            "recurrent weights drawn with deviation 1",
            "normal",
            "saturated-units",
            "exploding-gradient",
        ),
        # UMLAUT; Stack Overflow, softmax with CrossEntropyLoss.
        fault("softmax at the end of the model", "softmax", "double-softmax"),
    ),
)
