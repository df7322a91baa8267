"""Translation of written dates, "7 march 1984", into ISO dates by an encoder-decoder transformer."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader

import lrtune

PAD, BOS, EOS = 0, 1, 2
SPECIALS = 3
SOURCE_SYMBOLS = " 0123456789abcdefghijklmnopqrstuvwxyz,"
TARGET_SYMBOLS = "0123456789-"
MONTHS = ["january", "february", "march", "april", "may", "june", "july", "august"]
MONTHS += ["september", "october", "november", "december"]

Pair = tuple[Tensor, Tensor]


def make_pairs(count: int, seed: int) -> list[Pair]:
    """Draw dates as pairs of encoded sentences: as people write them, and as ISO 8601 does."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    pairs = []
    for _ in range(count):
        year, month, day = draw(1900, 2030), draw(1, 13), draw(1, 29)
        name = MONTHS[month - 1]
        written = (f"{day} {name} {year}", f"{name} {day}, {year}", f"{day} {name[:3]} {year}")[draw(0, 3)]
        pairs.append(
            (encode(written, SOURCE_SYMBOLS), encode(f"{year}-{month:02d}-{day:02d}", TARGET_SYMBOLS))
        )
    return pairs


def encode(text: str, symbols: str) -> Tensor:
    """Number the characters of a sentence, between the marks of its beginning and end."""
    return torch.tensor([BOS, *(SPECIALS + symbols.index(character) for character in text), EOS])


def collate(pairs: list[Pair]) -> dict[str, Tensor]:
    """Pad the sentences of a batch to the longest."""
    sources, targets = zip(*pairs, strict=True)
    return {
        "source": pad_sequence(sources, batch_first=True, padding_value=PAD),
        "target": pad_sequence(targets, batch_first=True, padding_value=PAD),
    }


class PositionalEncoding(nn.Module):
    """Adds sines and cosines of the position to the embeddings.

    Args:
        width: Features of a token.
        longest: The most tokens of a sentence.
        batch_first: Whether the embeddings are `[batch, time, width]` rather than `[time, batch, width]`.
    """

    def __init__(self, width: int, longest: int = 80, batch_first: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        position = torch.arange(longest).unsqueeze(1)
        frequency = torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
        table = torch.zeros(longest, width)
        table[:, 0::2] = torch.sin(position * frequency)
        table[:, 1::2] = torch.cos(position * frequency)
        self.register_buffer("table", table)

    def forward(self, embedded: Tensor) -> Tensor:
        """Return the embeddings with their positions."""
        if self.batch_first:
            return embedded + self.table[: embedded.shape[1]]
        return embedded + self.table[: embedded.shape[0]].unsqueeze(1)


class Translator(nn.Module):
    """Reads a sentence with an encoder and predicts the translation token by token.

    Args:
        width: Features of a token.
        batch_first: The layout that the positions are added for.
        classes: Tokens that the head scores.
        decoder_in_list: Whether the decoder's layers stand in a plain list.
        mask: `padding` masks the padding, `tokens` everything else.
        memory: What the decoder looks at: the `source`, or the `target` itself.
    """

    def __init__(
        self,
        width: int = 40,
        batch_first: bool = True,
        classes: int = SPECIALS + len(TARGET_SYMBOLS),
        decoder_in_list: bool = False,
        mask: str = "padding",
        memory: str = "source",
    ) -> None:
        super().__init__()
        self.width, self.mask, self.memory = width, mask, memory
        self.source_tokens = nn.Embedding(SPECIALS + len(SOURCE_SYMBOLS), width, padding_idx=PAD)
        self.target_tokens = nn.Embedding(SPECIALS + len(TARGET_SYMBOLS), width, padding_idx=PAD)
        for embedding in (self.source_tokens, self.target_tokens):
            nn.init.normal_(embedding.weight, std=width**-0.5)  # the embeddings are scaled up again
        self.positions = PositionalEncoding(width, batch_first=batch_first)
        settings = {
            "d_model": width,
            "nhead": 4,
            "dim_feedforward": 2 * width,
            "dropout": 0.1,
            "batch_first": True,
            "norm_first": True,
        }
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(**settings), num_layers=2, enable_nested_tensor=False
        )
        layers = [nn.TransformerDecoderLayer(**settings) for _ in range(2)]
        self.decoder = layers if decoder_in_list else nn.ModuleList(layers)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def padding_mask(self, tokens: Tensor) -> Tensor:
        """Return which tokens the attention is to pass over."""
        return tokens == PAD if self.mask == "padding" else tokens != PAD

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Map sentences `[batch, source time]` and `[batch, target time]` to logits of the next tokens."""
        source_mask, target_mask = self.padding_mask(source), self.padding_mask(target)
        encoded = self.positions(self.source_tokens(source) * math.sqrt(self.width))
        memory, memory_mask = self.encoder(encoded, src_key_padding_mask=source_mask), source_mask
        decoded = self.positions(self.target_tokens(target) * math.sqrt(self.width))
        if self.memory == "target":
            memory, memory_mask = decoded, target_mask
        future = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(diagonal=1)
        for layer in self.decoder:
            decoded = layer(
                decoded,
                memory,
                tgt_mask=future.to(target.device),
                tgt_key_padding_mask=target_mask,
                memory_key_padding_mask=memory_mask,
            )
        return self.head(self.norm(decoded))


def translate(
    model: nn.Module, batch: dict[str, Tensor], shift: bool = True, divide_again: bool = False
) -> dict[str, Tensor]:
    """Score the next token of every translation, given those before it."""
    given = batch["target"][:, :-1] if shift else batch["target"][:, 1:]
    wanted = batch["target"][:, 1:]
    logits = model(batch["source"], given)
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), wanted.flatten(), ignore_index=PAD)
    if divide_again:
        loss = loss / (wanted != PAD).sum()
    return {"loss": loss, "output": logits, "target": wanted}


def make_task(shift: bool = True, divide_again: bool = False, **network: Any) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    return lrtune.Task(
        model=lambda: Translator(**network),
        train=DataLoader(make_pairs(800, seed=21), batch_size=32, shuffle=True, collate_fn=collate),
        val=DataLoader(make_pairs(150, seed=22), batch_size=32, collate_fn=collate),
        step=functools.partial(translate, shift=shift, divide_again=divide_again),
    )


CASE = Case(
    name="dates-translation",
    healthy=make_task,
    faults=(
        Fault(
            "positions of a time-first tutorial added along the batch",
            ("batch-mixing",),
            functools.partial(make_task, batch_first=False),
        ),
        Fault(
            "the decoder is given the tokens that it is to predict",
            ("target-leak",),
            functools.partial(make_task, shift=False),
        ),
        Fault(
            "a head for the symbols without the special tokens",
            ("target-out-of-range",),
            functools.partial(make_task, classes=len(TARGET_SYMBOLS)),
        ),
        Fault(
            "decoder layers in a plain list",
            ("unregistered-parameter",),
            functools.partial(make_task, decoder_in_list=True),
        ),
        Fault(
            "the decoder attends to its own input instead of the encoder's memory",
            ("parameter-without-gradient", "input-ignored", "target-leak"),
            functools.partial(make_task, memory="target"),
        ),
        Fault(
            "padding masks the wrong way round",
            ("input-ignored", "nonfinite-loss"),
            functools.partial(make_task, mask="tokens"),
        ),
        Fault(
            "the mean loss divided by the number of tokens again",
            ("loss-not-mean",),
            functools.partial(make_task, divide_again=True),
        ),
    ),
)
