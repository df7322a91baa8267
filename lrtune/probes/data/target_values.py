"""What the targets of the sample are: their scale, their range, and whether they differ at all."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import tensors_of
from lrtune.population.forward import split_pair
from lrtune.probes.data.batch_parts import is_target
from lrtune.probes.losses.compared import compared, sees_differences
from lrtune.probes.losses.loss_behaviour import drawn_like, quiet
from lrtune.probes.losses.loss_family import declared_family
from lrtune.probes.losses.same_number import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.probes.losses.loss_family import LossFamily
    from lrtune.probes.sample import Sample

_COLUMNS = 64  # of a target that are judged one by one; more are pixels
_NARROW = 1e-3  # of the widest column's deviation: below it a column is constant
_HEARD = 4  # batches of a step that returns no target
_FURTHER = 100  # batches read past the sample before targets are called alike: data may be sorted


@dataclass(frozen=True)
class Answers:
    """Targets of a loss of yes and no.

    Attributes:
        family: The loss.
        targets: Of the sample, `[numbers]`.
    """

    family: LossFamily
    targets: torch.Tensor


@dataclass(frozen=True)
class Column:
    """One number that a regression predicts, beside what the untrained model answers.

    Attributes:
        index: Which column of the target, None where it has one, or so many that all are taken together.
        mean: Of the targets.
        std: Their standard deviation, not zero.
        output_mean: Of the untrained model's outputs.
        output_std: Of the outputs once zeros of the model are filled.
    """

    index: int | None
    mean: float
    std: float
    output_mean: float
    output_std: float


@dataclass(frozen=True)
class Same:
    """Whether targets differ.

    Attributes:
        alike: Whether each example's target is that of the first.
        examples: How many were looked at.
        value: The target, in words.
    """

    alike: bool
    examples: int
    value: str


# --- scale --------------------------------------------------------------------------------------------------------


def target_scale(sample: Sample) -> list[Column] | None:
    """Measure the columns that vary of a regression's targets, None for counts, labels and unknown losses.

    A loss of one's own that sees differences alone counts as a regression. Of a step that returns no target, each of
    torch's errors that it calls is a column.
    """
    targets, family = tensors_or_none(sample.targets), sample.family
    if targets is None:
        return _heard(sample) if sample.program.task.step is not None else None
    own, first = sample.program.task.loss, sample.first
    if not isinstance(first.output, torch.Tensor):
        return None
    awake = sample.run(sample.awake, sample.batches[0], training=True).output
    if family is None and own is not None and sees_differences(own, first):
        flat = [
            torch.cat([one.reshape(-1, 1) for one in part]) for part in (targets, [first.output], [awake])
        ]
        return _varying([flat[0]], flat[1], flat[2])
    if family is None or family.kind != "regression" or family.counts:
        return None
    return _varying(targets, first.output, awake) if first.output.shape[1:] == targets[0].shape[1:] else None


def _heard(sample: Sample) -> list[Column] | None:
    passes = [compared(sample, sample.model, batch) for batch in sample.batches[:_HEARD]]
    woken = compared(sample, sample.awake, sample.batches[0])
    if not woken or {len(one) for one in passes} != {len(woken)}:
        return None
    parts: list[Column] = []
    for place, (awake, _) in enumerate(woken):
        targets = [one[place][1].reshape(-1, 1) for one in passes]
        parts += _varying(targets, passes[0][place][0].reshape(-1, 1), awake.reshape(-1, 1)) or []
    return parts or None


def _varying(
    targets: Sequence[torch.Tensor], first: torch.Tensor, awake: torch.Tensor
) -> list[Column] | None:
    target, output, woken = _columns(targets), _columns([first]), _columns([awake])
    if len(target) < 2 or len(woken) < 2:
        return None
    parts = target.mean(0), target.std(0), output.mean(0), woken.std(0)
    rows = list(zip(*(part.tolist() for part in parts), strict=True))
    widest = max(row[1] for row in rows)
    kept = [
        Column(index if len(rows) > 1 else None, *row)
        for index, row in enumerate(rows)
        if row[1] > _NARROW * widest
    ]
    return kept or None


def _columns(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return `[rows, columns]` in double precision; a target of many values is one column."""
    width = tensors[0].shape[1] if tensors[0].ndim == 2 and tensors[0].shape[1] <= _COLUMNS else 1
    return torch.cat([one.detach().cpu().double().reshape(-1, width) for one in tensors])


def tensors_or_none(targets: Sequence[Any]) -> list[torch.Tensor] | None:
    """Return the targets of all batches, None unless each is a tensor that holds something."""
    found = [one for one in targets if isinstance(one, torch.Tensor) and one.ndim and one.numel()]
    return found if found and len(found) == len(targets) else None


# --- differing at all ---------------------------------------------------------------------------------------------


def target_sameness(sample: Sample) -> Same | None:
    """Measure whether the targets of the sample, and of batches after it, are all alike.

    None where the loss does not depend on them, or where a step makes them itself: a contrastive loss may put the
    right answer first in every row.
    """
    if sample.program.task.loss is None and _made_by_step(sample):
        return None
    targets = tensors_or_none(sample.targets)
    if targets is None or (declared_family(sample.program.task.loss) is None and not _depends(sample)):
        return None
    reference = targets[0][:1]
    alike = all(_all_are(target, reference) for target in targets)
    examples = sum(len(target) for target in targets)
    if alike:
        for target in _later_targets(sample):
            alike = alike and _all_are(target, reference)
            examples += len(target)
            if not alike:
                break
    return Same(alike, examples, _in_words(reference))


def _made_by_step(sample: Sample) -> bool:
    output, target = sample.first.output, sample.first.target
    if not isinstance(target, torch.Tensor) or any(
        is_target(one, target) for one in tensors_of(sample.batches[0])
    ):
        return False
    # As many classes as examples are the examples themselves, of which no one is right for all.
    return not (isinstance(output, torch.Tensor) and list(output.shape) == [len(target)] * 2)


def _all_are(target: torch.Tensor, reference: torch.Tensor) -> bool:
    if target.shape[1:] == reference.shape[1:]:
        return bool((target == reference).all())
    return bool((target == reference.flatten()[0]).all()) and bool(
        (reference == reference.flatten()[0]).all()
    )


def _in_words(row: torch.Tensor) -> str:
    values = row.flatten()
    if bool((values == values[0]).all()):
        return f"{float(values[0]):g}"
    return f"each of shape {list(row.shape[1:])}"


def _later_targets(sample: Sample) -> Iterator[torch.Tensor]:
    """Yield the targets of pairs that come after the sample; a step's would need the model."""
    if sample.program.task.loss is None:
        return
    start = len(sample.batches)
    for batch in islice(sample.train.epoch(sample.seed, 0), start, start + _FURTHER):
        target = split_pair(batch)[1]
        if isinstance(target, torch.Tensor) and target.ndim:
            yield target


def _depends(sample: Sample) -> bool:
    """Say whether a loss of the user's own changes with its target; a step that returns one is believed."""
    own, first = sample.program.task.loss, sample.first
    if own is None:
        return True
    if not isinstance(first.output, torch.Tensor) or not isinstance(first.target, torch.Tensor):
        return False
    one = torch.ones((), dtype=first.target.dtype, device=first.target.device)
    drawn = drawn_like(first.output)
    values = [
        quiet(own, drawn, first.target),
        quiet(own, drawn, torch.where(first.target == 0, one, 0 * one)),
    ]
    return None not in values and not same(values[0] or 0.0, values[1] or 0.0)


# --- classes ------------------------------------------------------------------------------------------------------


def answers(sample: Sample) -> Answers | None:
    """Return the targets of a loss of yes and no that is recognised by its number; named ones are judged before."""
    family, targets = sample.family, tensors_or_none(sample.targets)
    if family is None or targets is None or family.kind != "binary":
        return None
    if declared_family(sample.program.task.loss) is not None:
        return None
    return Answers(family, torch.cat([target.flatten() for target in targets]))
