"""A causal transformer writes out additions digit by digit; tied embeddings, dict batches, padding at the end."""

from __future__ import annotations

import math
from functools import partial

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import lrtune

VOCABULARY = "0123456789+=;_"
PAD = VOCABULARY.index("_")
LENGTH = 27
PROMPT = 5  # nobody can guess the first two summands: their labels are ignored


class _Sums(Dataset[dict[str, Tensor]]):
    """Lines such as `07+05=12;07+06=13;07+07=14;`: the second summand counts up. Some are cut short and padded."""

    def __init__(self, count: int, seed: int, shifted: bool, short: bool) -> None:
        draw = torch.Generator().manual_seed(seed)
        self.shifted = shifted
        self.lines = []
        for _ in range(count):
            a, b = torch.randint(45, (2,), generator=draw).tolist()
            sums = 1 if short else int(torch.randint(2, 4, (1,), generator=draw))
            text = "".join(f"{a:02d}+{b + i:02d}={a + b + i:02d};" for i in range(sums))
            self.lines.append(torch.tensor([VOCABULARY.index(c) for c in text.ljust(LENGTH + 1, "_")]))

    def __len__(self) -> int:
        return len(self.lines)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        line = self.lines[index]
        labels = (line[1:] if self.shifted else line[:-1]).clone()
        labels[:PROMPT] = PAD
        return {"input_ids": line[:-1], "labels": labels}


class _Block(nn.Module):
    def __init__(self, width: int, first_masked: int, always_drop: bool) -> None:
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)
        self.fc = nn.Linear(width, 4 * width)
        self.out = nn.Linear(4 * width, width)
        self.first_masked = first_masked
        self.always_drop = always_drop

    def forward(self, x: Tensor) -> Tensor:
        batch, time, width = x.shape
        q, k, v = (
            part.view(batch, time, 4, -1).transpose(1, 2) for part in self.qkv(self.ln1(x)).chunk(3, dim=-1)
        )
        mask = torch.triu(torch.full((time, time), -math.inf), diagonal=self.first_masked)
        weights = torch.softmax(q @ k.transpose(2, 3) / math.sqrt(width // 4) + mask, dim=-1)
        x = x + self.proj((weights @ v).transpose(1, 2).reshape(batch, time, width))
        y = functional.gelu(self.fc(self.ln2(x)))
        if self.always_drop:
            y = functional.dropout(y, 0.1)
        return x + self.out(y)


class _LM(nn.Module):
    def __init__(
        self, small_weights: bool = True, first_masked: int = 1, always_drop: bool = False, width: int = 48
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(len(VOCABULARY), width)
        self.places = nn.Embedding(LENGTH, width)
        self.blocks = nn.ModuleList(_Block(width, first_masked, always_drop) for _ in range(2))
        self.ln = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(VOCABULARY), bias=False)
        if small_weights:
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.Embedding):
                    nn.init.normal_(module.weight, std=0.06)
        self.head.weight = self.tokens.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.ln(x))


def _language_loss(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    logits = model(batch["input_ids"])
    loss = functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=PAD)
    return {"loss": loss, "output": logits, "target": batch["labels"]}


def _mean_over_padding(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    logits, labels = model(batch["input_ids"]), batch["labels"]
    losses = functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    return {"loss": (losses * (labels != PAD)).mean(), "output": logits, "target": labels}


def _task(
    padded_mean: bool = False, shifted: bool = True, short: bool = False, **network: bool | int
) -> lrtune.Task:
    return lrtune.Task(
        model=lambda: _LM(**network),
        train=_Sums(800, 1, shifted, short),
        val=_Sums(128, 2, shifted, short),
        step=_mean_over_padding if padded_mean else _language_loss,
    )


CASE = Case(
    name="sums-lm",
    healthy=_task,
    faults=(
        Fault(
            "tied embeddings keep their N(0, 1)", ("initial-loss-high",), partial(_task, small_weights=False)
        ),
        Fault("labels are not shifted", ("target-leak",), partial(_task, shifted=False)),
        Fault(
            "no causal mask: attention sees the next token",
            ("target-leak",),
            partial(_task, first_masked=LENGTH),
        ),
        Fault(
            "the mask hides the diagonal too: the first row is empty",
            ("nonfinite-loss",),
            partial(_task, first_masked=0),
        ),
        Fault(
            "functional dropout without training=self.training",
            ("nondeterministic-model",),
            partial(_task, always_drop=True),
        ),
        Fault(
            "losses masked, then averaged over the padding as well",
            ("initial-loss-low", "loss-not-mean"),
            partial(_task, padded_mean=True, short=True),
        ),
    ),
    config={"batch_size": 16, "optimizer": {"name": "adamw"}},
)
