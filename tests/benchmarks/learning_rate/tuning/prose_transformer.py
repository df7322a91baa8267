"""A transformer that predicts the next character of English prose, by AdamW."""

from __future__ import annotations

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_prose, split_windows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

CONTEXT, WIDTH, HEADS = 24, 32, 4
ALPHABET = "\n !\"#%&'()*+,-./0123456789:;=?[]_`abcdefghijklmnopqrstuvwxyz"  # any other character is a space


def _windows() -> Split:
    numbers = {character: number for number, character in enumerate(ALPHABET)}
    space = numbers[" "]
    text = torch.tensor([numbers.get(character, space) for character in load_prose().lower()])
    return split_windows(text, CONTEXT, stride=24)


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value, self.attended = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.ReLU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x: Tensor) -> Tensor:
        split = self.query_key_value(self.before_attention(x)).unflatten(-1, (3, HEADS, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        gathered = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.attended(gathered.transpose(1, 2).flatten(2))
        return x + self.mlp(self.before_mlp(x))


class _Transformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.character = nn.Embedding(len(ALPHABET), WIDTH)
        self.position = nn.Parameter(0.02 * torch.randn(CONTEXT, WIDTH))
        self.block = _Block()
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(ALPHABET))
        nn.init.normal_(self.character.weight, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.norm(self.block(self.character(tokens) + self.position)))


def _next_character(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    tokens, targets = batch
    logits = model(tokens)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return {"loss": loss, "output": logits, "target": targets}


def _task() -> lrtune.Task:
    train, val = _windows().datasets()
    return lrtune.Task(model=_Transformer, train=train, val=val, step=_next_character)


CASE = Case(
    name="prose-transformer",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "adamw"}, "coarse": {"epochs": 2}},
    guess=1e-3,
)
