"""A GRU over packed sequences that tells where a surname comes from; an optimizer class of its own."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence
from torch.utils.data import DataLoader

import lrtune

if TYPE_CHECKING:
    from collections.abc import Callable

STARTS = (
    ("ro", "fe", "sal", "man"),
    ("ko", "iva", "pet", "sok"),
    ("ta", "naka", "su", "mori"),
    ("mac", "oneil", "fitz", "ken"),
)
ENDS = (("ini", "etti", "ano"), ("ov", "enko", "sky"), ("moto", "shita", "da"), ("gerald", "nedy", "lan"))
LETTERS = "abcdefghijklmnopqrstuvwxyz"
PAD, UNKNOWN = 0, 1


def list_names(names: int, capitals: bool = False) -> list[tuple[list[int], int]]:
    """Draw surnames as numbers of letters, each with its origin; `capitals` are not in the vocabulary."""
    generator = torch.Generator().manual_seed(909)
    numbers = {letter: index + 2 for index, letter in enumerate(LETTERS)}
    examples = []
    for _ in range(names):
        origin, start, end, extra = (int(n) for n in torch.randint(0, 12, (4,), generator=generator))
        name = STARTS[origin % 4][start % 4] + LETTERS[extra] * (extra % 2) + ENDS[origin % 4][end % 3]
        name = name.upper() if capitals else name
        examples.append(([numbers.get(letter, UNKNOWN) for letter in name], origin % 4))
    return examples


def collate(examples: list[tuple[list[int], int]], column: bool = False) -> dict[str, Tensor]:
    """Pad the names; `column` keeps the labels as `[batch, 1]`."""
    labels = torch.tensor([origin for _, origin in examples])
    return {
        "letters": pad_sequence(
            [torch.tensor(name) for name, _ in examples], batch_first=True, padding_value=PAD
        ),
        "lengths": torch.tensor([len(name) for name, _ in examples]),
        "origin": labels.unsqueeze(1) if column else labels,
    }


class NameGRU(nn.Module):
    """Embedding, GRU, head; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.embedding = nn.Embedding(len(LETTERS) + 2, 16, padding_idx=PAD)
        self.gru = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 4)
        self.state: Tensor | None = None

    def forward(self, letters: Tensor, lengths: Tensor) -> Tensor:
        """Map letters `[batch, time]` and lengths `[batch]` to logits `[batch, origins]`."""
        weight = self.embedding.weight.data if self.bug == "data" else self.embedding.weight
        embedded = nn.functional.embedding(letters, weight, padding_idx=PAD)
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        state = self.state if self.state is not None and self.state.shape[1] == len(letters) else None
        _, last = self.gru(packed, state)
        if self.bug == "kept":
            self.state = last.detach()
        return self.head(last[-1])


class HeavyBall(torch.optim.Optimizer):
    """Gradient descent with momentum, written out."""

    def __init__(self, parameters: Any, lr: float, weight_decay: float, rebinds: bool) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": 0.9})
        self.rebinds = rebinds

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update the parameters; what `rebinds` makes are other tensors."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                slope = parameter.grad + group["weight_decay"] * parameter
                velocity = self.state[parameter].setdefault("velocity", torch.zeros_like(parameter))
                velocity.mul_(group["momentum"]).add_(slope)
                if self.rebinds:
                    parameter = parameter - group["lr"] * velocity
                else:
                    parameter.sub_(group["lr"] * velocity)


def train_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return loss, output and target of a batch."""
    logits = model(batch["letters"], batch["lengths"])
    loss = nn.functional.cross_entropy(logits, batch["origin"])
    return {"loss": loss, "output": logits, "target": batch["origin"]}


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    names = list_names(700, capitals=bug == "capitals")
    join = functools.partial(collate, column=bug == "column")
    generator = torch.Generator().manual_seed(8)
    return lrtune.Task(
        model=lambda: NameGRU(bug),
        train=DataLoader(names[:560], 40, shuffle=True, collate_fn=join, generator=generator),
        val=DataLoader(names[560:], 40, collate_fn=join),
        step=train_step,
        optimizer=lambda model, lr, decay: HeavyBall(model.parameters(), lr, decay, rebinds=bug == "rebound"),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="names-gru",
    healthy=make_task,
    faults=(
        fault("the state of one batch kept for the next", "kept", "nondeterministic-model", "batch-mixing"),
        fault("the embedding's .data looked up", "data", "parameter-without-gradient"),
        fault(
            "names in capitals, a vocabulary of small letters: all unknown",
            "capitals",
            "conflicting-labels",
            "constant-input",
        ),
        fault("labels [batch, 1] for cross_entropy", "column", "target-shape-mismatch"),
        fault("an optimizer that rebinds its parameters' names", "rebound", "optimizer-does-not-step"),
    ),
)
