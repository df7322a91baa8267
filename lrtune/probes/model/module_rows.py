"""The module at which an example's row first depends on other examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import tensors_of
from lrtune.probes.model.hooks import hooked
from lrtune.probes.model.model_calls import plain_attention, root_mean_square, with_rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.sample import Sample

_SAME = 1e-5  # relative: rounding that kernels of another layout may show inside a net
_Rows = tuple[list[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Place:
    """A module of the model.

    Attributes:
        name: As `named_modules` has it.
        kind: Its class.
        batch_second: Whether it is one of torch's own that takes the batch as its second dimension.
        change: Of its output, in units of the output's size.
    """

    name: str
    kind: str
    batch_second: bool
    change: float = 0.0


def first_mixing(
    sample: Sample, model: nn.Module, batches: tuple[Any, Any], kept: Sequence[int], count: int
) -> Place | None:
    """Return the first module whose output for some examples differs between two batches, and whose input does not.

    Args:
        sample: The sample.
        model: To listen to; only the rows of the kept examples are held.
        batches: They share the kept examples.
        kept: Their numbers.
        count: Examples in a batch.
    """
    noted = [_rows(sample, model, batch, list(kept), count) for batch in batches]
    for (name, one), (same_name, other) in zip(*noted, strict=False):
        if name == same_name and _mixes(one, other):
            module = model.get_submodule(name)
            second = getattr(module, "batch_first", None) is False
            return Place(name, type(module).__name__, second, _change(one[1], other[1]))
    return None


def _rows(
    sample: Sample, model: nn.Module, batch: Any, kept: list[int], count: int
) -> list[tuple[str, _Rows]]:
    noted: list[tuple[str, _Rows]] = []

    def after(name: str, module: nn.Module, positional: Any, named: Any, output: Any) -> None:
        rows = with_rows(output, count)
        given = [tensor.detach() for tensor in tensors_of([*positional, named]) if tensor.ndim]
        if rows is not None and len(rows) == count and given and all(len(one) == count for one in given):
            noted.append((name, ([one[kept].clone() for one in given], rows[kept].clone())))

    with hooked(model, post=after, only=lambda name, _: bool(name)), plain_attention():
        sample.run(model, batch, training=False)
    return noted


def _mixes(one: _Rows, other: _Rows) -> bool:
    given = zip(one[0], other[0], strict=False)
    return all(_close(a, b) for a, b in given) and not _close(one[1], other[1])


def _change(one: torch.Tensor, other: torch.Tensor) -> float:
    size = root_mean_square(one)
    return root_mean_square(one - other) / size if size else 1.0


def _close(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.shape != other.shape:
        return False
    if not one.is_floating_point():
        return torch.equal(one, other)
    size = one.float().abs().max() if one.numel() else 0.0
    return bool(((one - other).float().abs() <= _SAME * size).all())
