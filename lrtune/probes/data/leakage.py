"""Columns of a table that hold its target: an affine copy of it, or the one-hot code of its class."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.probes.data.entrance import entrance, fed, name_in

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_BATCHES = 16  # of the sample at most
_COLUMNS = 4096  # of one tensor; wider ones are images
_COPY = 1e-6  # of |r| from 1
_CLASSES = 256  # that are compared with columns of their own


@dataclass(frozen=True)
class Leak:
    """How well single columns tell the target.

    Attributes:
        examples: How many were compared.
        where: Key of the tensor in a dict batch, or nothing.
        columns: The best column for the target, or one for each class.
        distance: 1 - |r| of the worst of them, r being Pearson's correlation.
        classes: Whether they are one column a class.
        series: Whether they are features of a series' last step.
        constant: The number that the one column holds for all examples of a class and for no other; None where it is a
            copy that is told.
        bits: How unlikely it is by chance: the examples' number times the target's entropy, less the choice of columns.
    """

    examples: int
    where: str
    columns: list[int]
    distance: float
    classes: bool
    bits: float
    series: bool = False
    constant: float | None = None


@dataclass(frozen=True)
class _Table:
    """One of the model's inputs as columns `[examples, columns]` on the CPU."""

    values: torch.Tensor
    source: torch.Tensor
    series: bool

    @property
    def width(self) -> int:
        """How many columns there are."""
        return self.values.shape[1]


def leak(sample: Sample) -> Leak | None:
    """Compare a table's columns, or a series' last step, with the target of one number an example."""
    tables: list[list[_Table]] = []
    targets: list[torch.Tensor] = []
    for batch, target in zip(sample.batches[:_BATCHES], sample.targets, strict=False):
        if not _one_number(target, batch):
            return None
        targets.append(target.detach().cpu().reshape(-1))
        parts = fed(entrance(sample, batch), batch, target)
        tables.append([table for part in parts if (table := _table(part)) is not None])
    if not tables[0] or any([t.width for t in one] != [t.width for t in tables[0]] for one in tables):
        return None
    target = torch.cat(targets)
    parts = [torch.cat([one[place].values for one in tables]) for place in range(len(tables[0]))]
    found = [
        _best(part, target) if _several(part, one) else None
        for part, one in zip(parts, tables[0], strict=True)
    ]
    best = min((one for one in found if one), key=lambda one: one.distance, default=None)
    if best is None:
        return None
    at = found.index(best)
    where = name_in(sample.batches[0], tables[0][at].source)
    return replace(best, where=where, series=tables[0][at].series)


def _one_number(target: Any, batch: Any) -> bool:
    if not isinstance(target, torch.Tensor) or target.is_complex() or target.ndim == 0:
        return False
    return target.numel() == target.shape[0] == example_count(batch)


def _table(part: torch.Tensor) -> _Table | None:
    """Return a table, or a series `[examples, time, features]` at its end; None for anything else."""
    if part.is_complex() or part.ndim not in (2, 3) or part.shape[1] < 2:
        return None
    series = part.ndim == 3
    table = part[:, -1] if series else part
    return _Table(table.detach().cpu(), part, series) if table.shape[1] <= _COLUMNS else None


def _several(values: torch.Tensor, table: _Table) -> bool:
    """Say whether the input is more than one number that varies: a toy's only feature may be its target."""
    return table.series or int((values != values[:1]).any(0).sum()) > 1


def _best(table: torch.Tensor, target: torch.Tensor) -> Leak | None:
    """Return the columns that tell the target best, None where it does not vary."""
    columns = _standard(table.double())
    kinds, labels, counts = torch.unique(target, return_inverse=True, return_counts=True)
    if len(kinds) < 2:
        return None
    share = counts.double() / len(target)
    bits = len(target) * float(torch.special.entr(share).sum()) / math.log(2) - math.log2(table.shape[1])
    plain = (columns.T @ _standard(target.double()[:, None])).abs()[:, 0]
    found = Leak(len(target), "", [int(plain.argmax())], 1 - float(plain.max()), False, bits)
    if 2 < len(kinds) <= min(_CLASSES, len(target) // 2):
        coded = _one_hot(columns, torch.nn.functional.one_hot(labels, len(kinds)).double())
        chosen = coded.argmax(0)
        # One class may be without a column: the code that drops the first.
        second_worst = float(coded.max(0).values.sort().values[1])
        if 1 - second_worst < found.distance:
            return Leak(len(target), "", torch.unique(chosen).tolist(), 1 - second_worst, True, bits)
    if len(kinds) <= _CLASSES and found.distance > _COPY:
        return _marked(table, labels, counts) or found
    return found


def _marked(table: torch.Tensor, labels: torch.Tensor, counts: torch.Tensor) -> Leak | None:
    """Return the column that holds one number for all examples of a class and for no other example.

    It is otherwise not of two numbers, as a flag is, which may be a property of the class: what was measured afterwards
    (a cost, a date, a duration) is zero where there was nothing to measure.
    """
    for kind in range(len(counts)):
        mine, count = labels == kind, int(counts[kind])
        if count < 2 or count == len(labels):
            continue
        number = table[mine][0]
        whole = (table[mine] == number).all(0) & ~(table[~mine] == number).any(0)
        varied = table[~mine].amax(0) > table[~mine].amin(0)
        places = (whole & varied).nonzero().flatten().tolist()
        if places:
            share = torch.tensor([count / len(labels), 1 - count / len(labels)], dtype=torch.float64)
            bits = len(labels) * float(torch.special.entr(share).sum()) / math.log(2) - math.log2(
                table.shape[1]
            )
            return Leak(len(labels), "", places, 0.0, False, bits, constant=float(number[places[0]]))
    return None


def _one_hot(columns: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """Return |r| of every column with every class's indicator, `[columns, classes]`."""
    return (columns.T @ _standard(classes)).abs()


def _standard(columns: torch.Tensor) -> torch.Tensor:
    """Return columns of mean 0 and length 1; those that do not vary become 0."""
    centred: torch.Tensor = columns - columns.mean(0)
    length = centred.square().sum(0).sqrt()
    tiny = 1e-12 * columns.abs().amax(0) * math.sqrt(len(columns))  # what rounding leaves of a constant
    return torch.where(length > tiny, centred / length.clamp(min=1e-300), 0.0)
