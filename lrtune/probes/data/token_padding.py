"""Whether the positions that only fill up rows of tokens count in the loss."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import tensors_of
from lrtune.probes.data.batch_parts import is_target

if TYPE_CHECKING:
    from lrtune.probes.losses.weight_reading import Reading

_SHORTEST = 4  # of a row: fewer integers are categories side by side
_ROWS = 4  # that end in padding, of different lengths: fewer may end alike by chance
_LENGTHS = 3  # different ones


@dataclass(frozen=True)
class CountedPadding:
    """Positions of padding that count.

    Attributes:
        token: That fills the rows of the input.
        label: What the target holds there.
        share: Of all that counts in the loss, at the first step.
        rows: How many rows end in padding.
    """

    token: int
    label: int
    share: float
    rows: int


def counted_padding(batch: Any, target: torch.Tensor, reading: Reading) -> CountedPadding | None:
    """Return the padding that counts, None where none does or none is evident."""
    if target.ndim != 2 or target.shape[1] < _SHORTEST or reading.labels.numel() != target.numel():
        return None
    weights = reading.weights.nan_to_num().clamp(min=0).reshape(target.shape).cpu()
    if not weights.sum():
        return None
    labels = target.cpu()
    for tokens in tensors_of(batch):
        tails = None if is_target(tokens, target) else _tails(tokens, labels.shape)
        if tails is None or len(filled := torch.unique(labels[tails[1]])) != 1:
            continue
        token, mask = tails
        return CountedPadding(
            token,
            int(filled[0]),
            float(weights[mask].sum() / weights.sum()),
            int(mask.any(1).sum()),
        )
    return None


def _tails(tokens: torch.Tensor, shape: torch.Size) -> tuple[int, torch.Tensor] | None:
    """Return the token that fills the rows, and where: it stands at their ends alone, in runs of different lengths.

    A batch may hold the text of which a step takes all but the last as input and all but the first as target.
    """
    if tokens.ndim != 2 or tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        return None
    if tokens.shape[0] != shape[0] or tokens.shape[1] - shape[1] not in (0, 1):
        return None
    rows = tokens.cpu()[:, tokens.shape[1] - shape[1] :].long()
    doubled = rows[:, -1][rows[:, -1] == rows[:, -2]]
    if not len(doubled):
        return None
    token = int(doubled.mode().values)
    mask = (rows == token).flip(1).cumprod(1).flip(1).bool()
    lengths = mask.sum(1)
    if bool(((rows == token) & ~mask).any()) or bool((lengths == shape[1]).all()):
        return None
    enough = int((lengths > 1).sum()) >= _ROWS and len(torch.unique(lengths[lengths > 0])) >= _LENGTHS
    return (token, mask) if enough else None
