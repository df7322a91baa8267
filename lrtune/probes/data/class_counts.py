"""How often each class occurs, and what the loss makes up for it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count
from lrtune.probes.data.drawn_shares import dataset_counts, weighted_sampler
from lrtune.probes.data.target_values import tensors_or_none
from lrtune.probes.data.token_padding import CountedPadding, counted_padding
from lrtune.probes.losses.class_weighing import Weighing, read_weights, weighings
from lrtune.probes.losses.loss_family import declared_family, ignored_index
from lrtune.probes.losses.loss_settings import weighs_classes

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample


@dataclass(frozen=True)
class Labels:
    """How often each label occurs.

    Attributes:
        counts: Examples of each class that is there.
        weighed: What the loss makes of one example of a class, beside the most frequent one's.
        compensated: Whether the loss was given class weights, or the loader draws with weights.
        groups: Classes that the loss weighs, as its gradient says.
        padding: What fills up rows of tokens and counts.
        dataset: Examples of each class in the dataset from which the batches are drawn with weights; empty where they
            are not, or where the batches are balanced.
    """

    counts: dict[int, int]
    weighed: dict[int, float] = field(default_factory=dict)
    compensated: bool = False
    groups: tuple[Weighing, ...] = ()
    padding: CountedPadding | None = None
    dataset: dict[int, int] = field(default_factory=dict)


def label_counts(sample: Sample) -> Labels | None:
    """Count labels, and measure what the loss makes of each; None where there is neither."""
    own = _own_counts(sample)
    outcome, reading = read_weights(sample)
    if reading is None:
        return own
    groups = tuple(weighings(sample, outcome, reading))
    padding = counted_padding(sample.batches[0], outcome.target, reading)
    if own is None and not groups and padding is None:
        return None
    return replace(own or Labels({}), groups=groups, padding=padding)


def _own_counts(sample: Sample) -> Labels | None:
    """Count labels, None unless each example has one and the loss is a known one over classes or of yes and no."""
    targets = tensors_or_none(sample.targets)
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
    compensated = weighs_classes(task.loss) or weighted_sampler(task.train) is not None
    table = dict(zip(values.tolist(), counts.tolist(), strict=True))
    return Labels(table, _weights(sample, table), compensated, dataset=dataset_counts(sample, table))


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
