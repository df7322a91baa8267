"""How what a model is fed varies over the examples, and the scale of what its first layer receives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.probes.data.entrance import Entrance, entrance, fed
from lrtune.probes.data.tokens import Tokens, tokens

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.sample import Sample

_BATCHES = 16  # of the sample at most: their size may be the user's, and each costs a pass to the first layer
_NUMBERS = 1_000_000  # kept of what the first layer receives: 8 MB
_COLUMNS = 1024  # looked at, evenly spaced
_LARGE = 0.9  # the quantile that stands for a column's size: heavy tails lie beyond


@dataclass(frozen=True)
class Columns:
    """Statistics of what the first layer receives, one entry a column (a feature or a channel).

    Attributes:
        layer: Dotted name of the layer, "" for the model itself.
        kind: Its class.
        total: Columns there are.
        index: Which of them were looked at, in the same order as the statistics.
        size: The 0.9 quantile of the absolute values that are not zero; 0 where all are.
        mean: Of all values.
        deviation: Of all values.
        span: Largest minus smallest value.
        most_common: Share of the most frequent value.
        comparable: Whether columns are features side by side, as in a table or a time series, not an image's.
    """

    layer: str
    kind: str
    total: int
    index: list[int]
    size: list[float]
    mean: list[float]
    deviation: list[float]
    span: list[float]
    most_common: list[float]
    comparable: bool


@dataclass(frozen=True)
class Inputs:
    """What the first batches bring to the model.

    Attributes:
        examples: How many were compared.
        alike: Whether every one of the model's inputs is the same for all of them.
        value: The number that all inputs hold, None where they hold several.
        tokens: Of the model's tokens, None without any.
        columns: Of what the first layer receives; None where integers are embedded or no layer was reached.
        numbers_vary: Whether an input of floating-point numbers is not the same for all.
        pretrained: Whether the task's model brings trained weights, and with them a scale of its own.
    """

    examples: int
    alike: bool
    value: float | None
    tokens: Tokens | None
    columns: Columns | None
    pretrained: bool
    numbers_vary: bool = True


def inputs(sample: Sample) -> Inputs | None:
    """Measure the inputs of the first batches; None where the model's inputs cannot be told."""
    batches = sample.batches[:_BATCHES]
    rows: list[list[torch.Tensor]] = []
    received: list[torch.Tensor] = []
    share = _NUMBERS // len(batches)
    for batch, target in zip(batches, sample.targets, strict=False):
        seen = entrance(sample, batch)
        rows.append(fed(seen, batch, target))
        if (numbers := _numbers(seen, rows[-1])) is not None:
            received.append(thinned(numbers, share))
    width = len(rows[0])
    if width == 0 or any(len(one) != width for one in rows):
        return None
    alike = [_alike([one[place] for one in rows]) for place in range(width)]
    return Inputs(
        examples=sum(len(one[0]) for one in rows),
        alike=all(alike) and sum(len(one[0]) for one in rows) > 1,
        value=_one_value(rows[0]),
        tokens=tokens(rows, seen.vocabulary),
        columns=_columns(seen, received, len(rows)),
        pretrained=sample.program.task.pretrained,
        numbers_vary=any(
            one.is_floating_point() and not same for one, same in zip(rows[0], alike, strict=True)
        ),
    )


def _alike(parts: Sequence[torch.Tensor]) -> bool:
    """Say whether all rows of several tensors are the same one."""
    first = parts[0][:1]
    return all(part.shape[1:] == first.shape[1:] and bool((part == first).all()) for part in parts)


def _one_value(parts: Sequence[torch.Tensor]) -> float | None:
    values = {
        float(value) for part in parts if not part.is_complex() and part.numel() for value in _ends(part)
    }
    return values.pop() if len(values) == 1 else None


def _ends(part: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return part.min(), part.max()


def _numbers(seen: Entrance, raw: Sequence[torch.Tensor]) -> torch.Tensor | None:
    """Return `[rows, columns]` of what the first layer receives, on the CPU."""
    if seen.received is None or seen.received.is_sparse or seen.received.numel() == 0:
        return None
    whole = seen.received.movedim(seen.features, -1)
    whole = whole.reshape(-1, whole.shape[-1])
    if not seen.embedded:
        return whole
    # Beside embeddings, whose scale is the model's own, only the columns that are the data's as they came are judged.
    parts = [one.reshape(-1, one.shape[-1]) for one in raw if one.is_floating_point() and one.ndim > 1]
    for part in parts:
        if part.shape[0] == whole.shape[0] and all(_holds(whole, column) for column in part.T):
            return part
    return None


def _holds(whole: torch.Tensor, column: torch.Tensor) -> bool:
    return bool((whole == column.to(whole.dtype)[:, None]).all(0).any())


def thinned(numbers: torch.Tensor, share: int) -> torch.Tensor:
    """Return about `share` numbers of `[rows, columns]` at most: evenly spaced columns, then rows; doubles."""
    kept = numbers[:, _spaced(numbers.shape[1]).to(numbers.device)]
    every = max(1, -(-kept.numel() // share))
    return kept[::every].cpu().double()


def _spaced(columns: int) -> torch.Tensor:
    return torch.linspace(0, columns - 1, min(columns, _COLUMNS)).round().long()


def _columns(seen: Entrance, received: Sequence[torch.Tensor], batches: int) -> Columns | None:
    if len(received) != batches or len({one.shape[1] for one in received}) != 1 or seen.received is None:
        return None
    values = torch.cat(list(received))
    if len(values) < 2 or not bool(torch.isfinite(values).all()):
        return None
    kept = values.abs()
    size = torch.nanquantile(kept.where(kept > 0, torch.nan), _LARGE, dim=0).nan_to_num(0.0)
    total = seen.received.shape[seen.features] if not seen.embedded else values.shape[1]
    return Columns(
        layer=seen.layer or "",
        kind=seen.kind,
        total=total,
        index=_spaced(total).tolist(),
        size=size.tolist(),
        mean=values.mean(0).tolist(),
        deviation=values.std(0).tolist(),
        span=(values.amax(0) - values.amin(0)).tolist(),
        most_common=(values == values.mode(0).values).double().mean(0).tolist(),
        comparable=seen.received.ndim < 4 and seen.features == -1,
    )
