"""What the targets of the sample are: their scale, whether they differ at all, how often each label occurs."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import WeightedRandomSampler

from lrtune.data.nest import example_count, tensors_of
from lrtune.population.forward import split_pair
from lrtune.probes.data.batch_parts import is_target
from lrtune.probes.losses.loss_behaviour import drawn_like, quiet
from lrtune.probes.losses.loss_family import declared_family, ignored_index
from lrtune.probes.losses.loss_settings import weighs_classes
from lrtune.probes.losses.same_number import same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.probes.sample import Sample

_COLUMNS = 64  # of a target that are judged one by one; more are pixels
_NARROW = 1e-3  # of the widest column's deviation: below it a column is constant
_FURTHER = 100  # batches read past the sample before targets are called alike: data may be sorted


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


@dataclass(frozen=True)
class Labels:
    """How often each label occurs.

    Attributes:
        counts: Examples of each class that is there.
        weighed: What the loss makes of one example of a class, beside the most frequent one's.
        compensated: Whether the loss was given class weights, or the loader draws with weights.
    """

    counts: dict[int, int]
    weighed: dict[int, float] = field(default_factory=dict)
    compensated: bool = False


# --- scale --------------------------------------------------------------------------------------------------------


def target_scale(sample: Sample) -> list[Column] | None:
    """Measure the columns that vary of a regression's targets, None for counts, labels and unknown losses."""
    family = sample.family
    targets = _tensors(sample.targets)
    first = sample.first.output
    if family is None or family.kind != "regression" or family.counts or targets is None:
        return None
    if not isinstance(first, torch.Tensor) or first.shape[1:] != targets[0].shape[1:]:
        return None
    awake = sample.run(sample.awake, sample.batches[0], training=True).output
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


def _tensors(targets: Sequence[Any]) -> list[torch.Tensor] | None:
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
    targets = _tensors(sample.targets)
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


def label_counts(sample: Sample) -> Labels | None:
    """Count labels, None unless each example has one and the loss is a known one over classes or of yes and no."""
    targets = _tensors(sample.targets)
    family = sample.family
    if targets is None or family is None or family.kind == "regression":
        return None
    if not all(_one_each(target, batch) for target, batch in zip(targets, sample.batches, strict=False)):
        return None
    task = sample.program.task
    labels = torch.cat([target.flatten() for target in targets]).cpu()
    if labels.is_floating_point() and not bool(((labels == 0) | (labels == 1)).all()):
        return None
    labels = labels.long()
    labels = labels[labels != ignored_index(task.loss)]
    values, counts = torch.unique(labels, return_counts=True)
    sampler = getattr(task.train, "sampler", None)
    compensated = weighs_classes(task.loss) or isinstance(sampler, WeightedRandomSampler)
    table = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return Labels(table, _weights(sample, table), compensated)


def _one_each(target: torch.Tensor, batch: Any) -> bool:
    return target.numel() == len(target) == example_count(batch)


def _weights(sample: Sample, counts: dict[int, int]) -> dict[int, float]:
    """Return by how much the loss of the user's own pulls at one example of the rarest class and the commonest.

    The gradient of a class's own logit, summed over its examples at outputs of zero, goes with its weight.
    """
    own = sample.program.task.loss
    if own is None or declared_family(own) is not None or len(counts) < 2:
        return {}
    wanted = (max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__))
    pulls: dict[int, float] = {}
    for batch, target in zip(sample.batches, sample.targets, strict=False):
        if set(wanted) <= set(target.flatten().long().tolist()):
            pulls = _pulls(own, sample.run(sample.model, batch, training=True).output, target, wanted)
            break
    most, least = (pulls.get(label, 0.0) for label in wanted)
    return {wanted[1]: least / most} if most > 0 and least > 0 else {}


def _pulls(own: Any, output: Any, target: torch.Tensor, wanted: tuple[int, int]) -> dict[int, float]:
    if not isinstance(output, torch.Tensor):
        return {}
    try:
        with torch.enable_grad():
            zeros = torch.zeros_like(output, requires_grad=True)
            (gradient,) = torch.autograd.grad(own(zeros, target.clone()), zeros)
    except Exception:  # the user's code on outputs that no model of theirs gave: it may raise anything
        return {}
    rows = gradient.detach().reshape(len(target), -1).abs().amax(1).cpu()
    labels = target.flatten().long().cpu()
    return {label: float(rows[labels == label].mean()) for label in wanted}
