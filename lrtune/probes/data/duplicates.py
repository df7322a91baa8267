"""Equal inputs with different targets: how many there are, and what they leave to learn.

No model can tell equal inputs apart: the accuracy has a ceiling, sum over inputs of the most frequent label's count,
and the loss a floor, the conditional entropy H(target | input) (for numbers the variance within equal inputs).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count, example_count
from lrtune.probes.data.batch_parts import inputs_of
from lrtune.probes.data.target_place import target_reader

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.probes.sample import Sample

_EXAMPLES = 50_000  # looked at where all data lie in memory
_BYTES = 512 * 2**20  # of them
_SECONDS = 2.0  # that reading them may take
_TIMED = 64  # examples read to see how long it takes
_BATCHES = 16  # and
_COLUMNS = 256  # that suffice to tell how likely two inputs are equal
_CLASSES = 0.5  # share of kinds among float targets above which they are measurements, not classes
_MULTIPLIER = 0x5851F42D4C957F2D  # of Knuth's MMIX generator
_INCREMENT = 0x14057B7EF767814F  # likewise


@dataclass(frozen=True)
class Duplicates:
    """Equal inputs of a sample.

    Attributes:
        examples: How many were compared.
        repeated: How many have an input that another has, too.
        conflicting: How many of these share it with an example of another target.
        classes: Whether targets are classes.
        floor: H(target | input) in nats for classes, else the share of the variance within equal inputs.
        whole: H(target) in nats for classes, else 1.
        ceiling: The highest accuracy, None without classes.
        constant: The accuracy of the most frequent class, None without classes.
        chance: How many others an input would equal if its columns were independent of one another.
        columns: How many of the inputs' columns vary.
    """

    examples: int
    repeated: int
    conflicting: int
    classes: bool
    floor: float
    whole: float
    ceiling: float | None
    constant: float | None
    chance: float
    columns: int


def duplicates(sample: Sample) -> Duplicates | None:
    """Compare the sample's inputs and targets, one target an example; more than the sample where that is cheap."""
    read = target_reader(sample)
    if read is None:
        return None
    keys, targets, values = [], [], []
    for batch in _examples(sample):
        target = read(batch)
        inputs = inputs_of(batch, target) if isinstance(target, torch.Tensor) else []
        count = example_count(batch)
        if not inputs or target.ndim == 0 or target.shape[0] != count or _labels_a_position(target, inputs):
            return None
        keys.append(row_keys(inputs))
        targets.append(row_keys([target]) if target.numel() > count else target.detach().cpu().reshape(-1))
        values.append((inputs, target))
    return _compared(torch.cat(keys), torch.cat(targets), values)


def _labels_a_position(target: torch.Tensor, inputs: Sequence[torch.Tensor]) -> bool:
    several = not target.is_floating_point() and target.numel() > target.shape[0]
    return several and any(not one.is_floating_point() for one in inputs)


def _examples(sample: Sample) -> Sequence[Any]:
    """Return the sample's batches, or more of the data where they lie in memory and are read fast."""
    if not sample.train.resident:
        return sample.batches
    started = time.perf_counter()
    timed = sample.train.subset(_TIMED, sample.seed)
    held = max(sum(example_count(batch) for batch in timed), 1)
    seconds = (time.perf_counter() - started) / held
    size = sum(byte_count(batch) for batch in timed) / held
    count = min(_EXAMPLES, int(_BYTES / max(size, 1)), int(_SECONDS / max(seconds, 1e-9)))
    enough = count > sum(example_count(batch) for batch in sample.batches)
    return sample.train.subset(count, sample.seed) if enough else sample.batches


def row_keys(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return a number for each row of several tensors side by side, int64 `[rows]`; equal rows have equal numbers.

    Different rows share one with probability 2^-64 or so: the sum of the row's bits, each times a fixed number.
    """
    keys = torch.zeros(len(tensors[0]), dtype=torch.int64)
    for place, tensor in enumerate(tensors):
        generator = torch.Generator().manual_seed(place)
        bits = _spread(_bits(tensor.detach().cpu()))
        weights = torch.randint(-(2**62), 2**62, (bits.shape[1],), generator=generator) * 2 + 1
        keys = (keys ^ (bits * weights).sum(1)) * _MULTIPLIER + _INCREMENT  # int64 wraps, as a hash may
        keys = keys ^ (keys >> 29)
    return keys


def _spread(bits: torch.Tensor) -> torch.Tensor:
    """Carry the high bits down: those of small whole numbers are zero but for the first few."""
    bits = (bits ^ (bits >> 32)) * _MULTIPLIER
    return bits ^ (bits >> 29)


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    """Return `[rows, values]` of int64 whose equality is that of the values."""
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    rows = tensor.reshape(tensor.shape[0], -1)
    if not rows.is_floating_point():
        return rows.long()
    return (rows.double() + 0.0).view(torch.int64)  # -0.0 is 0.0


def _compared(
    keys: torch.Tensor, targets: torch.Tensor, values: Sequence[tuple[Sequence[torch.Tensor], torch.Tensor]]
) -> Duplicates:
    kinds, labels = torch.unique(targets, return_inverse=True)
    classes = not targets.is_floating_point() or len(kinds) <= 2
    classes = classes or (_whole(kinds) and len(kinds) <= _CLASSES * math.sqrt(len(targets)))
    if values[0][1].is_floating_point() and values[0][1].numel() > values[0][1].shape[0]:
        classes = False
    _, groups = torch.unique(keys, return_inverse=True)
    size = torch.bincount(groups)
    pairs, counts = torch.unique(torch.stack([groups, labels]), dim=1, return_counts=True)
    different = torch.bincount(pairs[0])
    floor, whole, ceiling = _of_classes(pairs, counts, size) if classes else _of_numbers(groups, values)
    logarithm, columns = _of_agreeing([inputs for inputs, _ in values])
    return Duplicates(
        examples=len(keys),
        repeated=int(size[size > 1].sum()),
        conflicting=int(size[different > 1].sum()),
        classes=classes,
        floor=floor,
        whole=whole,
        ceiling=ceiling,
        constant=float(torch.bincount(labels).max()) / len(labels) if classes else None,
        chance=len(keys) * math.exp(logarithm),
        columns=columns,
    )


def _whole(kinds: torch.Tensor) -> bool:
    return bool((kinds == kinds.round()).all())


def _of_classes(
    pairs: torch.Tensor, counts: torch.Tensor, size: torch.Tensor
) -> tuple[float, float, float | None]:
    """Return H(label | input), H(label) and the highest accuracy."""
    amounts, total = counts.double(), float(counts.sum())
    inside = -(amounts * (amounts / size[pairs[0]]).log()).sum() / total
    labels = torch.bincount(pairs[1], weights=amounts) / total
    most = torch.zeros(len(size), dtype=torch.float64).scatter_reduce(0, pairs[0], amounts, "amax")
    return float(inside), float(torch.special.entr(labels).sum()), float(most.sum()) / total


def _of_numbers(
    groups: torch.Tensor, values: Sequence[tuple[Sequence[torch.Tensor], torch.Tensor]]
) -> tuple[float, float, float | None]:
    """Return the share of the variance that lies within equal inputs."""
    numbers = torch.cat([target.detach().cpu().double().reshape(len(target), -1) for _, target in values])
    numbers = numbers - numbers.mean(0)
    size = torch.bincount(groups).double()[:, None]
    means = torch.zeros(len(size), numbers.shape[1], dtype=torch.float64).index_add(0, groups, numbers) / size
    around = float(numbers.square().mean())
    within = float((numbers - means[groups]).square().mean())
    return (within / around if around > 0 else 0.0), 1.0, None


def _of_agreeing(parts: Sequence[Sequence[torch.Tensor]]) -> tuple[float, int]:
    """Return the logarithm of the chance that two inputs agree in all columns, and how many columns vary."""
    logarithm, columns = 0.0, 0
    for place in range(len(parts[0])):
        rows = [_bits(one[place].detach().cpu()) for one in parts[:_BATCHES] if len(one) > place]
        if len({one.shape[1] for one in rows}) != 1:
            continue
        whole = torch.cat(rows)
        for column in (
            torch.linspace(0, whole.shape[1] - 1, min(whole.shape[1], _COLUMNS)).round().long().tolist()
        ):
            counts = torch.unique(whole[:, column], return_counts=True)[1]
            share = counts.double() / len(whole)
            logarithm, columns = (
                logarithm + math.log(float(share.square().sum())),
                columns + (len(counts) > 1),
            )
    return logarithm, columns
