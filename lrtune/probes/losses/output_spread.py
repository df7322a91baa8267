"""How wide an untrained model's outputs are, and which layer they come from."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.probes.losses.loss_family import LossFamily

_NUMBERS = 2**20  # of a batch's outputs that are looked at: the logits of a language model are many


@dataclass(frozen=True)
class Spread:
    """The outputs of several batches.

    Attributes:
        std: Standard deviation: of logits around their row's mean, since a constant added to a row says nothing; of
            other outputs around their common mean. None with no tensor of them.
        explained: What the logits' spread alone adds to a softmax loss, mean(logsumexp - mean) - ln C; None for
            other losses.
        exponential_sum: Mean over rows of the sum of exp(output), 1 for log-probabilities; None likewise.
        size: Root mean square of outputs that are no logits of classes, None likewise.
        target_size: The same of real targets of the outputs' shape, None without any.
    """

    std: float | None
    explained: float | None = None
    exponential_sum: float | None = None
    size: float | None = None
    target_size: float | None = None


def spread_of(family: LossFamily | None, pairs: Sequence[tuple[Any, Any]]) -> Spread:
    """Measure the outputs of some batches.

    Args:
        family: Which loss they go to, None when unknown.
        pairs: Output and target of each.
    """
    if not all(isinstance(output, torch.Tensor) and output.is_floating_point() for output, _ in pairs):
        return Spread(None)
    output, target = pairs[0]
    dimension = None
    if family is not None and isinstance(target, torch.Tensor):
        dimension = family.dimension(output, target)
    if dimension is None or output.shape[dimension] < 2:
        flat = torch.cat([_some(one.reshape(-1, 1)).flatten() for one, _ in pairs])
        std = float(flat.std()) if flat.numel() > 1 else None
        return Spread(std, size=float(flat.square().mean().sqrt()), target_size=_size(pairs))
    classes = output.shape[dimension]
    rows = torch.cat([_some(one.movedim(dimension, -1).reshape(-1, classes)) for one, _ in pairs])
    centred = rows - rows.mean(1, keepdim=True)
    deviation = float((centred.square().sum() / (rows.shape[0] * (classes - 1))).sqrt())
    neutral = torch.zeros(classes, dtype=rows.dtype).logsumexp(0)
    explained = float((centred.logsumexp(1) - neutral).mean())
    return Spread(deviation, explained, float(rows.logsumexp(1).exp().mean()))


def _some(rows: torch.Tensor) -> torch.Tensor:
    """Return evenly spaced rows, at most a million numbers, in double precision on the CPU."""
    step = max(rows.numel() // _NUMBERS, 1)
    return rows[::step].detach().cpu().double()


def _size(pairs: Sequence[tuple[Any, Any]]) -> float | None:
    real = [
        _some(target.reshape(-1, 1)).flatten()
        for output, target in pairs
        if isinstance(target, torch.Tensor) and target.is_floating_point() and target.shape == output.shape
    ]
    return float(torch.cat(real).square().mean().sqrt()) if real else None


class LastLayer:
    """The layer that gave the last output of a size, found while a model runs.

    Attributes:
        name: Of the module whose weights were used last, None before any.
        numbers: How many numbers it gave.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.numbers = 0

    def of(self, output: Any) -> str | None:
        """Return the layer's name if the output can be its own."""
        if self.name is None or not isinstance(output, torch.Tensor) or output.numel() != self.numbers:
            return None
        return self.name


@contextmanager
def watched(model: torch.nn.Module) -> Iterator[LastLayer]:
    """Look which layer with a matrix of weights runs last inside the block."""
    last = LastLayer()

    def seen(name: str, module: torch.nn.Module, positional: Any, named: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            last.name, last.numbers = name, output.numel()

    with hooked(model, post=seen, only=lambda name, module: bool(name) and _is_layer(module)):
        yield last


def _is_layer(module: torch.nn.Module) -> bool:
    weight = getattr(module, "weight", None)
    return (
        isinstance(weight, torch.nn.Parameter) and weight.ndim > 1 and next(module.children(), None) is None
    )
