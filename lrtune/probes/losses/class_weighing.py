"""What the loss's class weights make of the classes' frequencies, read off its gradient.

However weights reach a loss (a tensor of torch's, pos_weight, a formula of the user's own, inside a step), a class
counts as often as it occurs times what each of its labels counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.data.nest import example_count
from lrtune.probes.losses.binary_weights import answer_reading, fits_answers
from lrtune.probes.losses.class_reading import class_reading

if TYPE_CHECKING:
    from lrtune.population.forward import Outcome
    from lrtune.probes.losses.weight_reading import Reading
    from lrtune.probes.sample import Sample

_EVEN = 1e-2  # relative deviation within a class: weights that vary more are not the class's
_ALIKE = 0.2  # relative, of a class's share: a mask by chance leaves that of some hundred labels
_COLUMNS = 256  # of a table of answers
_CLASSES = 1000  # more are a vocabulary, whose words are too rare to compare


@dataclass(frozen=True)
class Weighing:
    """Classes that exclude each other, as the loss counts them.

    Attributes:
        counts: Independent labels of each class that counts: of an example with many labels, such as pixels, all
            together are one.
        weights: Of one label of each, beside the smallest.
        column: Which column of a table of answers it is, None where there is one group.
    """

    counts: dict[int, float]
    weights: dict[int, float]
    column: int | None = None


def read_weights(sample: Sample) -> tuple[Outcome, Reading | None]:
    """Return the first batch's outcome, and the weights of its labels where they can be read."""
    outcome = sample.run(sample.model, sample.batches[0], training=True, graph=True)
    reading = class_reading(outcome)
    if reading is None and fits_answers(outcome):
        outcome = sample.run(sample.awake, sample.batches[0], training=True, graph=True)
        reading = answer_reading(outcome)
    return outcome, reading


def weighings(sample: Sample, outcome: Outcome, reading: Reading) -> list[Weighing]:
    """Return each group of classes whose weights differ."""
    if reading.classes > _CLASSES:
        return []
    target = outcome.target
    tabular = reading.classes == 1 and target.ndim == 2 and 1 < target.shape[1] <= _COLUMNS
    width = target.shape[1] if tabular else 1
    seen = _all_labels(sample, reading, width)
    each = max(reading.labels.numel() // width / max(example_count(sample.batches[0]), 1), 1.0)
    found = []
    for column in range(width):
        weights = _class_weights(reading, column, width)
        labels = seen[column::width]
        values, counts = torch.unique(labels[labels >= 0], return_counts=True)
        table = {
            int(value): int(count) / each
            for value, count in zip(values, counts, strict=True)
            if int(value) in weights
        }
        if len(table) > 1:
            least = min(weights[label] for label in table)
            found.append(
                Weighing(
                    table,
                    {label: weights[label] / least for label in table},
                    column if width > 1 else None,
                )
            )
    # One tag of many may need no weight: its neighbours' tell that there are weights.
    return found if any(max(one.weights.values()) > 1 + _EVEN for one in found) else []


def _all_labels(sample: Sample, reading: Reading, width: int) -> torch.Tensor:
    """Return the labels of all batches, of the first alone where the loss leaves out other classes than it counts."""
    own = torch.where(reading.counts | reading.weights.isnan(), reading.labels, -1).cpu()
    targets = sample.targets
    if not _alike(own, reading.labels.cpu()) or not all(isinstance(one, torch.Tensor) for one in targets):
        return own
    later = [one.flatten().cpu().double().nan_to_num(-1.0) for one in targets[1:]]
    if any(one.numel() % width or bool((one != one.round()).any()) for one in later):
        return own
    return torch.cat([own, *(one.long() for one in later)])


def _alike(counted: torch.Tensor, labels: torch.Tensor) -> bool:
    """Say whether a mask leaves the classes that count at all in the proportions that they have."""
    present = torch.unique(counted[counted >= 0])
    tables = [
        torch.bincount(one[torch.isin(one, present)], minlength=int(present.max()) + 1)[present].double()
        for one in (counted, labels)
    ]
    one, other = (table / table.sum() for table in tables)
    return bool(((one / other - 1).abs() <= _ALIKE).all())


def _class_weights(reading: Reading, column: int, width: int) -> dict[int, float]:
    """Return what one label of each class counts, of the classes whose labels all count alike."""
    part = slice(column, None, width)
    weights, labels = reading.weights[part].cpu().double(), reading.labels[part].cpu()
    counts = reading.counts[part].cpu()
    found = {}
    for label in torch.unique(labels[counts]).tolist():
        own = weights[counts & (labels == label)]
        mean = float(own.mean())
        if float((own - mean).abs().max()) > _EVEN * mean:
            return {}
        found[label] = mean
    return found
