"""A transformer language model of knitting patterns; padded rows, embedding and output tied."""

from __future__ import annotations

import functools
import random

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

WORDS = ("<pad>", "<cast-on>", "<bind-off>", "k", "p", "yo", "k2tog", "ssk", "c4f", ",")
PAD, WIDTH, LONGEST = 0, 32, 22


def write_patterns(count: int) -> Tensor:
    """Write rows of a motif that is repeated, as tokens `[count, time]`."""
    source = random.Random(1589)
    rows = []
    for _ in range(count):
        motif = [source.randrange(3, len(WORDS) - 1) for _ in range(source.randint(2, 4))]
        row = [1]
        for _ in range(source.randint(2, 4)):
            row += [*motif, len(WORDS) - 1]
        row = [*row, 2]
        rows.append(row[:LONGEST] + [PAD] * (LONGEST - len(row)))
    return torch.tensor(rows)


class KnitLM(nn.Module):
    """Two pre-norm encoder layers under a causal mask."""

    def __init__(self, bug: str = "") -> None:
        super().__init__()
        self.bug = bug
        self.tokens = nn.Embedding(len(WORDS), WIDTH)
        self.places = nn.Embedding(LONGEST, WIDTH)
        if bug != "default embedding":
            nn.init.normal_(self.tokens.weight, std=0.05)
            nn.init.normal_(self.places.weight, std=0.05)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, len(WORDS), bias=False)
        self.out.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[batch, time]` to logits `[batch, time, words]`."""
        length = tokens.size(1)
        hidden = self.tokens(tokens) + self.places(torch.arange(length, device=tokens.device))
        mask = None
        if self.bug != "no mask":
            mask = torch.ones(length, length, dtype=torch.bool, device=tokens.device).triu(1)
        return self.out(self.body(hidden, mask=mask))


def step(model: nn.Module, batch: list[Tensor], bug: str) -> Tensor:
    """Compute the mean cross-entropy of the words that follow."""
    (rows,) = batch
    inputs, targets = rows[:, :-1], rows[:, 1:]
    if bug == "no shift":
        targets = inputs
    logits = model(inputs)
    wanted = targets.t().reshape(-1) if bug == "transposed" else targets.reshape(-1)
    losses = nn.functional.cross_entropy(logits.reshape(-1, len(WORDS)), wanted, reduction="none")
    mask = (wanted != PAD).float()
    if bug == "mean":
        return (losses * mask).mean()
    return (losses * mask).sum() / mask.sum()


def optimise(model: nn.Module, lr: float, weight_decay: float, bug: str) -> torch.optim.Optimizer:
    """Build AdamW."""
    trained = KnitLM() if bug == "other model" else model
    return torch.optim.AdamW(trained.parameters(), lr=lr, weight_decay=weight_decay, betas=(0.9, 0.95))


def make_task(bug: str = "") -> lrtune.Task:
    """Describe the training; `bug` names what is planted."""
    rows = write_patterns(900)
    generator = torch.Generator().manual_seed(44)
    return lrtune.Task(
        model=lambda: KnitLM(bug),
        train=DataLoader(TensorDataset(rows[:768]), batch_size=48, shuffle=True, generator=generator),
        val=DataLoader(TensorDataset(rows[768:]), batch_size=44),
        step=functools.partial(step, bug=bug),
        optimizer=functools.partial(optimise, bug=bug),
    )


def fault(name: str, bug: str, *codes: str) -> Fault:
    """Describe a twin."""
    return Fault(name, codes, functools.partial(make_task, bug))


CASE = Case(
    name="knitting-lm",
    healthy=make_task,
    faults=(
        # alex-matton/causal-transformer-decoder#1, tatp22/linformer-pytorch#25.
        fault("the causal mask is missing", "no mask", "target-leak"),
        # Project-MONAI/GenerativeModels#314: token N is predicted from tokens 0 to N.
        fault("the targets are not shifted", "no shift", "target-leak"),
        # Stack Overflow and PyTorch forum, flattening [batch, time] against [time, batch]; Islam 2019, "wrong axis".
        fault(
            "targets are flattened in another order than the logits",
            "transposed",
            "target-shape-mismatch",
            "cannot-overfit",
        ),
        # Karpathy's recipe, "verify loss @ init"; nn.Embedding draws with deviation 1, which tying hands to the logits.
        fault("the tied embedding keeps its deviation of 1", "default embedding", "initial-loss-high"),
        # Humbatova 2020, "wrong loss function calculation"; EDAPINENUT/GNTPP#4: a masked loss reduced over all.
        fault("the masked loss is averaged over padding, too", "mean", "loss-not-mean", "initial-loss-low"),
        # PyTorch forum, "optimizer created before the model was rebuilt"; Zhang 2018.
        fault(
            "the optimizer holds another instance of the model", "other model", "parameter-not-in-optimizer"
        ),
    ),
)
