"""Whether a language model sees the token that it is to predict.

Which token an output is compared with is read off the loss itself: of all classes at a position the gradient of a
cross-entropy is negative at the label alone. That holds for any mask, weight or shift inside the step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import map_nest, tensors_of
from lrtune.probes.model.heard import with_output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample

_SHORTEST = 4  # tokens of a sequence in which before and after can be told
_FEWEST = 2  # sequences, where a vocabulary makes their outputs large
_ALIGNED = 0.9  # share of the labels from which their order is as it should be
_PLACES = (0.3, 0.5, 0.8)  # of the changed token, as shares of the sequence's length


@dataclass(frozen=True)
class _Labels:
    """What each output is compared with.

    Attributes:
        used: The class, in the output's shape without its classes.
        counts: Whether the loss looks at it at all.
        dimension: Of the output, that runs over classes.
    """

    used: torch.Tensor
    counts: torch.Tensor
    dimension: int


@dataclass(frozen=True)
class Causality:
    """What outputs are compared with, and which tokens they depend on.

    Attributes:
        same: Share of positions whose label is the token of that position (where the next one differs).
        following: Share of positions whose label is the next token (likewise).
        ahead: Change of the output one position before a changed token, as a share of the largest change behind it.
        sequences: How many were looked at.
        position: Of the changed token that made the largest such share.
        copied: Whether the model reads the same tokens by another way as well, as an autoencoder may.
        previous: Share of positions whose label is the token before (likewise).
        crossed: Share of positions whose label is the next token when the labels are read time first.
    """

    same: float
    following: float
    ahead: float
    sequences: int
    position: int
    copied: bool = False
    previous: float = 0.0
    crossed: float = 0.0


def causality(sample: Sample) -> Causality | None:
    """Change single tokens of the first batch; None where its outputs have no position of their own for each."""
    batch = sample.few(_FEWEST)
    labels = _used_labels(sample, batch)
    if labels is None:
        return None
    found = [
        (tokens, seen)
        for tokens in tensors_of(batch)
        if _sequences(tokens) and (seen := _examined(sample, batch, tokens, labels))
    ]
    if not found:
        return None
    tokens, seen = max(
        found, key=lambda one: max(one[1].same, one[1].following, one[1].previous, one[1].crossed)
    )
    copies = sum(_same(tokens, other) for other, _ in found)
    return replace(seen, copied=copies > 1)


def _sequences(tensor: torch.Tensor) -> bool:
    whole = not (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool)
    return whole and tensor.ndim == 2 and tensor.shape[1] >= _SHORTEST and tensor.shape[0] > 0


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _used_labels(sample: Sample, batch: Any) -> _Labels | None:
    if not any(_sequences(one) for one in tensors_of(batch)):
        return None
    model = sample.awake
    outcome = with_output(model, lambda: sample.run(model, batch, training=True, graph=True))
    slope = _slope(outcome)
    if slope is None or slope.ndim not in (2, 3):
        return None
    classes = _class_dimension(slope)
    return _Labels(slope.argmin(classes), slope.abs().amax(classes) > 0, classes)


def _slope(outcome: Outcome) -> torch.Tensor | None:
    output = outcome.output
    if not isinstance(output, torch.Tensor) or not output.requires_grad or not outcome.loss.requires_grad:
        return None
    (slope,) = torch.autograd.grad(outcome.scalar, output, allow_unused=True)
    return None if slope is None else slope.detach().float()


def _class_dimension(slope: torch.Tensor) -> int:
    """Return the dimension over which the gradient of a cross-entropy sums to zero: -1 or 1."""
    if slope.ndim == 2:
        return -1
    last, second = (float(slope.sum(dimension).abs().mean()) for dimension in (-1, 1))
    return -1 if last <= second else 1


def _examined(sample: Sample, batch: Any, tokens: torch.Tensor, labels: _Labels) -> Causality | None:
    rows, length = tokens.shape
    if labels.used.numel() not in (rows * length, rows * (length - 1)):
        return None
    used, counts = (one.reshape(rows, -1)[:, : length - 1] for one in (labels.used, labels.counts))
    telling = counts & (tokens[:, 1:] != tokens[:, :-1])
    if not bool(telling.any()):
        return None
    same = float((used == tokens[:, :-1])[telling].float().mean())
    following = float((used == tokens[:, 1:])[telling].float().mean())
    before = telling[:, 1:] & (tokens[:, :-2] != tokens[:, 1:-1])
    previous = float((used[:, 1:] == tokens[:, :-2])[before].float().mean()) if bool(before.any()) else 0.0
    crossed = _crossed(labels, tokens) if following < _ALIGNED else 0.0
    labels = replace(labels, counts=counts)
    plain = _outputs(sample, batch, labels)
    if not torch.equal(plain, _outputs(sample, batch, labels)):
        return None
    shares = [
        (share, place)
        for place in _places(counts, length)
        if (share := _ahead(plain, _outputs(sample, _with(batch, tokens, place), labels), counts, place))
        is not None
    ]
    if not shares:
        return None
    ahead, position = max(shares)
    return Causality(same, following, ahead, rows, position, previous=previous, crossed=crossed)


def _crossed(labels: _Labels, tokens: torch.Tensor) -> float:
    """Return the share of labels that are next tokens when they are read as `[time, rows]`, one after the other."""
    rows, length = tokens.shape
    if rows < _FEWEST:
        return 0.0
    across, counts = (one.reshape(-1, rows).t()[:, : length - 1] for one in (labels.used, labels.counts))
    return float((across == tokens[:, 1:])[counts].float().mean()) if bool(counts.any()) else 0.0


def _places(counts: torch.Tensor, length: int) -> Iterator[int]:
    for share in _PLACES:
        place = max(2, round(share * (length - 1)))
        if place < length - 1 and bool(counts[:, place - 1].any()):
            yield place


def _with(batch: Any, tokens: torch.Tensor, place: int) -> Any:
    """Return the batch with another token at one place of every sequence."""
    changed = tokens.clone()
    kinds = torch.unique(tokens)
    changed[:, place] = kinds[(torch.searchsorted(kinds, tokens[:, place].contiguous()) + 1) % len(kinds)]
    return map_nest(lambda one: changed if one is tokens else one, batch)


def _outputs(sample: Sample, batch: Any, labels: _Labels) -> torch.Tensor:
    """Return `[batch, time, classes]` of an output with its classes last, in dimension 1, or flattened."""
    model = sample.awake
    output = with_output(model, lambda: sample.run(model, batch, training=False)).output
    last: torch.Tensor = output.detach().float().movedim(labels.dimension, -1)
    return last.reshape(len(labels.counts), -1, last.shape[-1])[:, : labels.counts.shape[1]]


def _ahead(plain: torch.Tensor, altered: torch.Tensor, counts: torch.Tensor, place: int) -> float | None:
    """Return how much the output before a changed token changes; None if none changes at all."""
    change = (altered - plain).abs_().amax(-1) * counts
    behind = float(change[:, place:].max()) if change[:, place:].numel() else 0.0
    before = float(change[:, place - 1].max())
    return None if max(behind, before) == 0 else before / max(behind, before)
