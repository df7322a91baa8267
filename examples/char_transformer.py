"""A language model: its batches are dicts, so a `step` takes the place of the loss.

A causal transformer learns sentences such as "one red frog sees nine tame owls." character by character.
The number decides the endings of noun and verb, so the model has to look back. Run the whole recipe with::

    lrtune run configs/char-transformer.yaml
"""

import math
import random

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import lrtune

ALPHABET = " .abcdefghijklmnopqrstuvwxyz"
NUMBERS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
ADJECTIVES = ["big", "calm", "fast", "glad", "kind", "lazy", "old", "quiet", "red", "tame", "young"]
NOUNS = ["bear", "cat", "crow", "dog", "duck", "frog", "hen", "jay", "mole", "owl", "pig", "toad"]
VERBS = ["call", "chase", "find", "follow", "greet", "help", "like", "meet", "see", "trust"]


def make_sentence(draw: random.Random) -> str:
    """Draw a sentence: some animals do something to some others."""

    def animals(number: str) -> str:
        return f"{number} {draw.choice(ADJECTIVES)} {draw.choice(NOUNS)}{'' if number == 'one' else 's'}"

    number, others = draw.choices(NUMBERS, k=2)
    return f"{animals(number)} {draw.choice(VERBS)}{'s' if number == 'one' else ''} {animals(others)}. "


def make_texts(sentences: int) -> tuple[str, str]:
    """Draw the training text, of so many sentences, and a tenth as many for validation; no two are alike."""
    draw = random.Random(0)
    drawn: dict[str, None] = {}
    while len(drawn) < sentences + sentences // 10:
        drawn[make_sentence(draw)] = None
    return "".join(list(drawn)[:sentences]), "".join(list(drawn)[sentences:])


class Windows(Dataset[dict[str, Tensor]]):
    """Consecutive windows of a text; the target of each character is the one that follows it.

    Args:
        text: Characters of `ALPHABET`.
        context: Characters in a window.
    """

    def __init__(self, text: str, context: int) -> None:
        characters = torch.tensor([ALPHABET.index(character) for character in text])
        self.windows = characters.unfold(0, context + 1, context)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"tokens": self.windows[index, :-1], "targets": self.windows[index, 1:]}


class Block(nn.Module):
    """Causal self-attention and a perceptron, each on a normalised input and added to it.

    Args:
        width: Features of a character.
        heads: Attention heads, which share the features among them.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[batch, time, width]` to features of the same shape."""
        features = features + self.attended(self.attend(self.before_attention(features)))
        return features + self.mlp(self.before_mlp(features))

    def attend(self, features: Tensor) -> Tensor:
        """Let every character gather from itself and those before it, in each head apart."""
        split = self.query_key_value(features).unflatten(-1, (3, self.heads, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-2, -1) / math.sqrt(key.shape[-1])
        future = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
        gathered = scores.masked_fill(future, -math.inf).softmax(dim=-1) @ value
        return gathered.transpose(1, 2).flatten(2)


class Transformer(nn.Module):
    """A causal language model over `ALPHABET`.

    Args:
        context: The most characters that it reads.
        width: Features of a character.
        layers: Blocks.
    """

    def __init__(self, context: int, width: int, layers: int) -> None:
        super().__init__()
        self.character = nn.Embedding(len(ALPHABET), width)
        self.position = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads=4) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, len(ALPHABET))
        self.apply(initialise)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map characters `[batch, time]` to logits of the next ones, `[batch, time, len(ALPHABET)]`."""
        positions = torch.arange(tokens.shape[1], device=tokens.device)
        return self.head(self.norm(self.blocks(self.character(tokens) + self.position(positions))))


def initialise(module: nn.Module) -> None:
    """Draw small weights, so that all characters start almost equally likely."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)


def next_character(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Score the model's guesses of all next characters of a batch."""
    logits, targets = model(batch["tokens"]), batch["targets"]
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())
    accuracy = (logits.argmax(dim=-1) == targets).float().mean()
    return {"loss": loss, "output": logits, "target": targets, "accuracy": accuracy}


def make_task(sentences: int = 1500, context: int = 32, width: int = 64, layers: int = 2) -> lrtune.Task:
    """Describe the training to lrtune.

    Args:
        sentences: Sentences of the training text.
        context: Characters in a window.
        width: Features of a character.
        layers: Blocks of the transformer.
    """
    train, val = (Windows(text, context) for text in make_texts(sentences))
    return lrtune.Task(
        model=lambda: Transformer(context, width, layers),
        train=train,
        val=val,
        step=next_character,
    )
