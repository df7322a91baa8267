"""A vision transformer on digits: patches of eight pixels, a class token, a head that starts at zero."""

from __future__ import annotations

import functools

import sklearn.datasets
import torch
from benchmarks.faults.case import Case, Fault
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import lrtune

WIDTH = 24


def load_digits() -> TensorDataset:
    """Load the digits as standardised images `[1, 8, 8]` and classes."""
    pixels, labels = map(torch.from_numpy, sklearn.datasets.load_digits(return_X_y=True))
    images = ((pixels - pixels.mean()) / pixels.std()).float().unflatten(1, (1, 8, 8))
    return TensorDataset(images[:1000], labels[:1000])


class Block(nn.Module):
    """Attention and a perceptron, each on a normalised input and added to it.

    Args:
        attention_dropout: Share of the attention weights that is dropped, whatever the mode.
        dropout: Share of the features that is dropped in training.
    """

    def __init__(self, attention_dropout: float, dropout: float) -> None:
        super().__init__()
        self.attention_dropout = attention_dropout
        self.before_attention, self.before_mlp = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.query_key_value = nn.Linear(WIDTH, 3 * WIDTH)
        self.attended = nn.Linear(WIDTH, WIDTH)
        self.dropout = nn.Dropout(dropout)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens `[batch, length, width]` to tokens of the same shape."""
        split = self.query_key_value(self.before_attention(tokens)).unflatten(-1, (3, 4, -1))
        query, key, value = split.permute(2, 0, 3, 1, 4)
        gathered = nn.functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attention_dropout
        )
        tokens = tokens + self.dropout(self.attended(gathered.transpose(1, 2).flatten(2)))
        return tokens + self.dropout(self.mlp(self.before_mlp(tokens)))


class VisionTransformer(nn.Module):
    """Two blocks over eight patches and a class token.

    Args:
        attention_dropout: As in `Block`.
        dropout: As in `Block`.
        encoded: Whether the head reads the tokens that come out of the blocks.
        patches_first: Cuts the patches as if they came before the batch.
        softmax: Whether the output is passed through a softmax.
        constant_init: Sets all weights to one number.
    """

    def __init__(
        self,
        attention_dropout: float = 0.0,
        dropout: float = 0.05,
        encoded: bool = True,
        patches_first: bool = False,
        softmax: bool = False,
        constant_init: bool = False,
    ) -> None:
        super().__init__()
        self.encoded, self.patches_first, self.softmax = encoded, patches_first, softmax
        self.patch = nn.Linear(8, WIDTH)
        self.class_token = nn.Parameter(0.02 * torch.randn(1, 1, WIDTH))
        self.positions = nn.Parameter(0.02 * torch.randn(1, 9, WIDTH))
        self.blocks = nn.Sequential(*(Block(attention_dropout, dropout) for _ in range(2)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, 10)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        if constant_init:
            for parameter in self.parameters():
                nn.init.constant_(parameter, 0.02)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[batch, 1, 8, 8]` to logits `[batch, 10]`."""
        patches = images.unfold(2, 4, 4).unfold(3, 2, 2)
        if self.patches_first:
            patches = patches.reshape(8, len(images), 8).transpose(0, 1)
        else:
            patches = patches.reshape(len(images), 8, 8)
        tokens = torch.cat([self.class_token.expand(len(images), -1, -1), self.patch(patches)], dim=1)
        tokens = tokens + self.positions
        encoded = self.blocks(tokens)
        logits = self.head(self.norm((encoded if self.encoded else tokens)[:, 0]))
        return logits.softmax(dim=-1) if self.softmax else logits


def make_probe() -> VisionTransformer:
    """Build the network for linear probing, frozen after its new head was put on instead of before."""
    model = VisionTransformer()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


def make_task(frozen: bool = False, reduction: str = "mean", **network: bool | float) -> lrtune.Task:
    """Describe the training; the defaults are the healthy program."""
    generator = torch.Generator().manual_seed(0)
    return lrtune.Task(
        model=make_probe if frozen else lambda: VisionTransformer(**network),
        train=DataLoader(load_digits(), batch_size=16, shuffle=True, generator=generator),
        loss=functools.partial(nn.functional.cross_entropy, reduction=reduction),
    )


CASE = Case(
    name="digits-vit",
    healthy=make_task,
    faults=(
        Fault(
            "reduction='none' without a mean",
            ("loss-not-scalar",),
            functools.partial(make_task, reduction="none"),
        ),
        Fault(
            "frozen after the new head was put on",
            ("frozen-model",),
            functools.partial(make_task, frozen=True),
        ),
        Fault(
            "attention dropout also in evaluation",
            ("nondeterministic-model",),
            functools.partial(make_task, attention_dropout=0.2),
        ),
        Fault(
            "share to keep given as the share to drop",
            ("train-eval-gap",),
            functools.partial(make_task, dropout=0.95),
        ),
        Fault(
            "the head reads the class token from before the blocks",
            ("input-ignored", "parameter-without-gradient"),
            functools.partial(make_task, encoded=False),
        ),
        Fault(
            "patches cut with the batch in the wrong place",
            ("batch-mixing",),
            functools.partial(make_task, patches_first=True),
        ),
        Fault(
            "all parameters set to 0.02",
            ("symmetric-init",),
            functools.partial(make_task, constant_init=True),
        ),
        Fault(
            "a softmax before cross_entropy",
            ("double-softmax",),
            functools.partial(make_task, softmax=True),
        ),
    ),
    config={"optimizer": {"name": "adamw"}},
)
