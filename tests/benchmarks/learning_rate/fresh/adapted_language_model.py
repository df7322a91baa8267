"""A character model trained on Python's manual goes on with scikit-learn's prose, all weights alike, by AdamW."""

from __future__ import annotations

import functools
import pydoc_data.topics

import torch
from benchmarks.learning_rate.case import Case
from benchmarks.learning_rate.data import Split, load_prose, split_windows
from torch import Tensor, nn
from torch.nn import functional

import lrtune

CONTEXT, WIDTH, HEADS, LAYERS = 16, 32, 2, 2
PRETRAINING, BATCH = 1500, 32


def _codes(text: str) -> Tensor:
    return torch.tensor([min(ord(character), 127) for character in text])


def _prose() -> Split:
    return split_windows(_codes(load_prose()[:24_000]), CONTEXT, stride=8)


class _Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.character, self.place = nn.Embedding(128, WIDTH), nn.Embedding(CONTEXT, WIDTH)
        layer = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, LAYERS, norm=nn.LayerNorm(WIDTH), enable_nested_tensor=False
        )
        self.head = nn.Linear(WIDTH, 128)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(CONTEXT))

    def forward(self, characters: Tensor) -> Tensor:
        hidden = self.character(characters) + self.place.weight
        return self.head(self.layers(hidden, mask=self.mask, is_causal=True))


def _next_character(model: nn.Module, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    characters, targets = batch
    logits = model(characters)
    loss = functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    return {"loss": loss, "output": logits, "target": targets}


@functools.lru_cache
def _manual_weights() -> dict[str, Tensor]:
    """Return the weights of a model that has read the manual."""
    pages = pydoc_data.topics.topics
    windows = _codes("\n".join(pages[name] for name in sorted(pages))).unfold(0, CONTEXT + 1, 5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(15)
        model = _Model()
        optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, PRETRAINING)
        for _ in range(PRETRAINING):
            batch = windows[torch.randint(len(windows), (BATCH,))]
            loss = _next_character(model, (batch[:, :-1], batch[:, 1:]))["loss"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return model.state_dict()


def _pretrained() -> nn.Module:
    model = _Model()
    model.load_state_dict(_manual_weights())
    return model


def _task() -> lrtune.Task:
    train, val = _prose().datasets()
    return lrtune.Task(model=_pretrained, train=train, val=val, step=_next_character, pretrained=True)


CASE = Case(
    name="adapted-language-model",
    task=_task,
    config={"batch_size": 16, "optimizer": {"name": "adamw"}, "coarse": {"epochs": 2}},
    guess=1e-3,
)
