"""A character transformer with attention by hand that continues strings of molecules; tokens only, no labels."""

from __future__ import annotations

import functools

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader

import lrtune

SYMBOLS = "^CNOSF()=#1c$"
PARTS = ("C", "CC", "N", "O", "S", "C(F)", "C(=O)", "C#N", "c1ccccc1", "C(C)", "N(C)", "C=C", "OC")
LENGTH, WIDTH, HEADS = 24, 32, 2


def write_molecules(strings: int) -> Tensor:
    """Join parts at random to strings of one length and return their symbols `[strings, length + 1]`."""
    generator = torch.Generator().manual_seed(2024)
    rows = []
    for _ in range(strings):
        text = "^"
        while len(text) < LENGTH + 1:
            text += PARTS[int(torch.randint(len(PARTS), (), generator=generator))]
        rows.append([SYMBOLS.index(symbol) for symbol in text[: LENGTH + 1]])
    return torch.tensor(rows)


class Attention(nn.Module):
    """Causal attention; `bug` names the line that is wrong."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.bug = bug
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(3))
        self.out = nn.Linear(WIDTH, WIDTH)
        hidden = torch.ones(LENGTH, LENGTH, dtype=torch.bool)
        self.register_buffer("hidden", hidden.tril(-1) if bug == "tril" else hidden.triu(1))

    def forward(self, x: Tensor) -> Tensor:
        """Map `[batch, time, width]` to the same shape."""
        batch, time, _ = x.shape
        q, k, v = (
            one(x).view(batch, time, HEADS, -1).transpose(1, 2) for one in (self.query, self.key, self.value)
        )
        scores = q @ k.transpose(-2, -1) * (WIDTH // HEADS) ** -0.5
        if self.bug == "not in place":
            scores.masked_fill(self.hidden[:time, :time], float("-inf"))
        else:
            scores = scores.masked_fill(self.hidden[:time, :time], float("-inf"))
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time, WIDTH))


class MoleculeLM(nn.Module):
    """Two layers between tied embeddings."""

    def __init__(self, bug: str) -> None:
        super().__init__()
        self.scale = WIDTH**0.5 if bug == "scaled" else 1.0
        self.symbols = nn.Embedding(len(SYMBOLS), WIDTH)
        self.positions = nn.Embedding(LENGTH, WIDTH)
        self.attentions = nn.ModuleList([Attention(bug) for _ in range(2)])
        self.perceptrons = nn.ModuleList(
            [nn.Sequential(nn.Linear(WIDTH, 64), nn.GELU(), nn.Linear(64, WIDTH)) for _ in range(2)]
        )
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(5)])
        if bug != "scaled":
            nn.init.normal_(self.symbols.weight, std=0.02)
            nn.init.normal_(self.positions.weight, std=0.02)

    def forward(self, symbols: Tensor) -> Tensor:
        """Map symbols `[batch, time]` to logits `[batch, time, symbols]`."""
        places = torch.arange(symbols.shape[1], device=symbols.device)
        x = self.scale * self.symbols(symbols) + self.positions(places)
        for index, (attention, perceptron) in enumerate(zip(self.attentions, self.perceptrons, strict=True)):
            x = x + attention(self.norms[2 * index](x))
            x = x + perceptron(self.norms[2 * index + 1](x))
        return self.norms[4](x) @ self.symbols.weight.T


def train_step(model: nn.Module, batch: Tensor, bug: str) -> dict[str, Tensor]:
    """Return the loss of the next symbols."""
    seen, following = batch[:, :-1], batch[:, 1:]
    if bug == "rolled":
        following = seen.roll(1, dims=1)
    logits = model(seen)
    target = (following.t() if bug == "time first" else following).reshape(-1)
    rows = logits.view(-1, len(SYMBOLS))
    reduction = "sum" if bug == "sum" else "mean"
    return {
        "loss": nn.functional.cross_entropy(rows, target, reduction=reduction),
        "output": rows,
        "target": target,
    }


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    strings = write_molecules(640)
    generator = torch.Generator().manual_seed(6)
    return lrtune.Task(
        model=lambda: MoleculeLM(bug),
        train=DataLoader(strings[:512], 32, shuffle=True, generator=generator),  # type: ignore[arg-type]
        val=DataLoader(strings[512:], 32),  # type: ignore[arg-type]
        step=functools.partial(train_step, bug=bug),
        optimizer=lambda model, lr, decay: torch.optim.AdamW(
            model.parameters(), lr, betas=(0.9, 0.95), weight_decay=decay
        ),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="molecules-lm",
    healthy=make_task,
    faults=(
        fault("masked_fill, whose result is thrown away", "not in place", "target-leak"),
        fault("a mask of the wrong triangle", "tril", "target-leak"),
        fault("symbols rolled the wrong way: the one before is asked for", "rolled", "target-leak"),
        fault(
            "targets flattened with time first",
            "time first",
            "batch-mixing",
            "target-shape-mismatch",
            "cannot-overfit",
        ),
        fault("tied embeddings of deviation 1, scaled by the width's root", "scaled", "initial-loss-high"),
        fault("cross-entropy summed over the symbols", "sum", "loss-not-mean"),
    ),
)
