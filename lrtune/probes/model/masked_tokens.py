"""Whether a model reads the padding of its sentences instead of their tokens, as masks the wrong way round make it do.

The gradient of the loss at an embedding's output says which positions matter. A program that reads anything of a
sentence reads some of its tokens.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.probes.model.hooks import hooked
from lrtune.probes.model.model_calls import plain_attention

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 16  # examples, where outputs are large
_ROWS = 4  # that end in padding: fewer may end alike by chance
_LENGTHS = 3  # of padding, different ones


@dataclass(frozen=True)
class MaskedTokens:
    """An embedding of which only the padding reaches the loss.

    Attributes:
        embedding: Name of the module.
        token: That fills the ends of the rows.
        padding: How many positions of padding the loss depends on.
        real: How many tokens of the same rows it does not depend on: all of them.
    """

    embedding: str
    token: int
    padding: int
    real: int


def masked_tokens(sample: Sample) -> MaskedTokens | None:
    """Take the gradient of a batch's loss at every embedding, None where some token or no padding counts."""
    model, seen = sample.awake, []

    def note(name: str, module: nn.Module, positional: Any, named: Any, output: Any) -> None:
        tokens = positional[0] if positional else named.get("input")
        if isinstance(tokens, torch.Tensor) and output.requires_grad:
            seen.append((name, tokens, output))

    with (
        hooked(model, post=note, only=lambda name, module: isinstance(module, nn.Embedding)),
        plain_attention(),
    ):
        loss = sample.run(model, sample.few(_FEWEST), training=True, graph=True).loss
    padded = [
        (name, found, output) for name, tokens, output in seen if (found := padding_of(tokens)) is not None
    ]
    if not padded or not loss.requires_grad:
        return None
    gradients = torch.autograd.grad(loss.sum(), [output for _, _, output in padded], allow_unused=True)
    for (name, (token, mask), _), gradient in zip(padded, gradients, strict=True):
        if gradient is None:
            continue
        matters, rows = gradient.ne(0).any(-1), mask.any(1, keepdim=True)
        if bool((matters & mask).any()) and not bool((matters & ~mask & rows).any()):
            return MaskedTokens(name, token, int((matters & mask).sum()), int((~mask & rows).sum()))
    return None


def padding_of(tokens: torch.Tensor) -> tuple[int, torch.Tensor] | None:
    """Return the token that fills the ends of rows `[batch, time]`, and where; None without a token that does.

    It stands nowhere else, and in runs of different lengths.

    >>> padding_of(torch.tensor([[5, 0, 0, 0], [6, 7, 0, 0], [5, 6, 7, 0], [6, 0, 0, 0]]))[0]
    0
    """
    if tokens.ndim != 2 or tokens.shape[1] < _LENGTHS:
        return None
    last = tokens[:, -1]
    token = int(last[last == tokens[:, -2]].mode().values) if bool((last == tokens[:, -2]).any()) else -1
    mask = (tokens == token).flip(1).cumprod(1).flip(1).bool()
    lengths = mask.sum(1)
    lengths = lengths[lengths > 0]
    if bool(((tokens == token) & ~mask).any()) or bool((lengths == tokens.shape[1]).any()):
        return None
    return (token, mask) if len(lengths) >= _ROWS and len(torch.unique(lengths)) >= _LENGTHS else None
