"""A decoder-only character model of scikit-learn's descriptions of its datasets; AdamW with two groups."""

from __future__ import annotations

import functools
from typing import Any

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

import lrtune

SOURCES = ("iris", "diabetes", "breast_cancer", "wine", "digits", "linnerud")


@functools.cache
def read_text() -> tuple[Tensor, int]:
    """Return all descriptions as numbered characters, and how many different ones there are."""
    text = "\n".join(getattr(sklearn.datasets, f"load_{name}")().DESCR for name in SOURCES).lower()
    vocabulary = sorted(set(text))
    numbers = {character: number for number, character in enumerate(vocabulary)}
    return torch.tensor([numbers[character] for character in text]), len(vocabulary)


class Windows(Dataset[Tensor]):
    """Overlapping windows of a text, one character longer than the model's context."""

    def __init__(self, characters: Tensor, context: int, stride: int) -> None:
        self.windows = characters.unfold(0, context + 1, stride)

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Tensor:
        return self.windows[index]


class Block(nn.Module):
    """Self-attention and a perceptron, both residual.

    Args:
        width: Features of a character.
        causal: Whether a character sees only those before it.
        time_first: How the features come to the time-first attention: `transpose` or `reshape`.
        dropout: `module`, active in training, or `function`, as `functional.dropout` is by default.
    """

    def __init__(self, width: int, causal: bool, time_first: str, dropout: str) -> None:
        super().__init__()
        self.causal, self.time_first, self.dropout = causal, time_first, dropout
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, num_heads=4)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def attend(self, x: Tensor) -> Tensor:
        """Return what each character gathers from the others."""
        batch, time, width = x.shape
        sequence = x.transpose(0, 1) if self.time_first == "transpose" else x.reshape(time, batch, width)
        mask = torch.full((time, time), float("-inf"), device=x.device).triu(1) if self.causal else None
        gathered, _ = self.attention(sequence, sequence, sequence, attn_mask=mask, need_weights=False)
        if self.time_first == "transpose":
            return gathered.transpose(0, 1)
        return gathered.reshape(batch, time, width)

    def drop(self, x: Tensor) -> Tensor:
        """Drop a tenth of the features."""
        return (
            functional.dropout(x, 0.1)
            if self.dropout == "function"
            else functional.dropout(x, 0.1, self.training)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map features `[batch, time, width]` to features of the same shape."""
        x = x + self.drop(self.attend(self.norm1(x)))
        return x + self.drop(self.down(functional.gelu(self.up(self.norm2(x)))))


class CharacterModel(nn.Module):
    """A causal transformer whose head shares its weights with the embedding.

    Args:
        vocabulary: Different characters.
        context: Characters of a window.
        width: Features of a character.
        std: Of the initial weights; None keeps what PyTorch draws.
        probabilities: Whether the outputs are probabilities instead of logits.
        causal: Whether a character sees only those before it.
        time_first: See `Block`.
        dropout: See `Block`.
    """

    def __init__(
        self,
        vocabulary: int,
        context: int,
        width: int = 48,
        std: float | None = 0.02,
        probabilities: bool = False,
        causal: bool = True,
        time_first: str = "transpose",
        dropout: str = "module",
    ) -> None:
        super().__init__()
        self.probabilities = probabilities
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.zeros(context, width))
        self.blocks = nn.Sequential(*(Block(width, causal, time_first, dropout) for _ in range(2)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.characters.weight
        if std is not None:
            for parameter in self.parameters():
                if parameter.ndim == 2:
                    nn.init.normal_(parameter, std=std)

    def forward(self, characters: Tensor) -> Tensor:
        """Map characters `[batch, time]` to scores of the next ones."""
        x = self.characters(characters) + self.positions[: characters.shape[1]]
        logits = self.head(self.norm(self.blocks(x)))
        return logits.softmax(dim=-1) if self.probabilities else logits


def training_step(model: nn.Module, batch: Tensor, reduction: str = "mean") -> Tensor:
    """Return the cross-entropy of the next characters."""
    x, y = batch[:, :-1], batch[:, 1:]
    logits = model(x)
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1), reduction=reduction)


def configure_optimizer(
    model: nn.Module, learning_rate: float, weight_decay: float, listed: bool = True
) -> torch.optim.Optimizer:
    """Build AdamW that decays matrices but neither biases nor norms."""
    named: Any = model.named_parameters()
    if listed:
        named = list(named)  # it is walked twice
    decayed = [parameter for _, parameter in named if parameter.ndim >= 2]
    kept = [parameter for _, parameter in named if parameter.ndim < 2]
    groups = [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.95))


def make_task(reduction: str = "mean", listed: bool = True, context: int = 32, **network: Any) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    characters, vocabulary = read_text()
    end = len(characters) * 9 // 10
    return lrtune.Task(
        model=lambda: CharacterModel(vocabulary, context, **network),
        train=Windows(characters[:end], context, stride=12),
        val=Windows(characters[end:], context, stride=context),
        step=functools.partial(training_step, reduction=reduction),
        optimizer=functools.partial(configure_optimizer, listed=listed),
    )


CASE = Case(
    name="manuals-char-lm",
    healthy=make_task,
    faults=(
        Fault(
            "reshape instead of transpose before time-first attention",
            ("batch-mixing",),
            functools.partial(make_task, time_first="reshape"),
        ),
        Fault(
            "attention without the causal mask",
            ("target-leak",),
            functools.partial(make_task, causal=False),
        ),
        Fault(
            "the loss of every character, never averaged",
            ("loss-not-scalar",),
            functools.partial(make_task, reduction="none"),
        ),
        Fault(
            "a generator of parameters walked twice, so that the second group is empty",
            ("parameter-not-in-optimizer",),
            functools.partial(make_task, listed=False),
        ),
        Fault(
            "head tied to an embedding of deviation 1",
            ("initial-loss-high",),
            functools.partial(make_task, std=None),
        ),
        Fault(
            "functional.dropout without the training flag",
            ("nondeterministic-model", "train-eval-gap"),
            functools.partial(make_task, dropout="function"),
        ),
        Fault(
            "softmax in the model, for sampling, before the cross-entropy",
            ("double-softmax",),
            functools.partial(make_task, probabilities=True),
        ),
    ),
    config={"batch_size": 32},
)
