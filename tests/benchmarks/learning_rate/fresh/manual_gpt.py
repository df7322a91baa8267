"""The next word of Python's manual: RMS norms, gated layers, an embedding that is also the head; by AdamW."""

from __future__ import annotations

import collections
import pydoc_data.topics
import re

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, split_windows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

CONTEXT, WIDTH, HEADS, LAYERS, VOCABULARY, WORDS = 12, 32, 2, 2, 400, 28_000


def _windows() -> Split:
    pages = pydoc_data.topics.topics
    text = "\n".join(pages[name] for name in sorted(pages)).lower()
    words = re.findall(r"[a-z]+|[0-9]|[^\sa-z0-9]|\n", text)[:WORDS]
    frequent = [word for word, _ in collections.Counter(words).most_common(VOCABULARY - 1)]
    numbers = {word: number for number, word in enumerate(frequent, start=1)}  # 0 is any other word
    return split_windows(torch.tensor([numbers.get(word, 0) for word in words]), CONTEXT, stride=CONTEXT)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention_norm, self.gate_norm = nn.RMSNorm(WIDTH), nn.RMSNorm(WIDTH)
        self.mix, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        self.gate = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(2 * WIDTH, WIDTH, bias=False)

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = self.mix(self.attention_norm(hidden)).unflatten(-1, (3, HEADS, -1)).transpose(1, 3)
        query, key, value = mixed.unbind(2)
        heads = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.out(heads.transpose(1, 2).flatten(2))
        gate, up = self.gate(self.gate_norm(hidden)).chunk(2, dim=-1)
        return hidden + self.down(functional.silu(gate) * up)


class _GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.word, self.place = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        self.blocks = nn.Sequential(*(_Block() for _ in range(LAYERS)))
        self.norm = nn.RMSNorm(WIDTH)
        for weights in self.parameters():
            if weights.dim() == 2:
                nn.init.normal_(weights, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.word(tokens) + self.place.weight
        return functional.linear(self.norm(self.blocks(hidden)), self.word.weight)


def _next_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    tokens, targets = batch
    logits = model(tokens)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return {"loss": loss, "output": logits, "target": targets}


def _task() -> lrtune.Task:
    train, val = _windows().datasets()
    return lrtune.Task(model=_GPT, train=train, val=val, step=_next_word)


CASE = Case(
    name="manual-gpt",
    task=_task,
    config={
        "batch_size": 16,
        "optimizer": {"name": "adamw", "betas": (0.9, 0.95)},
        "coarse": {"epochs": 2},
    },
    guess=1e-3,
)
