"""Whether the output depends on the input at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from lrtune.data.nest import equal_nests, example_count
from lrtune.probes.model.model_calls import Call, chosen, farthest, one_row_each, recorded, root_mean_square

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 4  # examples, where outputs are large: the farthest of them stand for all


@dataclass(frozen=True)
class InputUse:
    """What other inputs change in the output.

    Attributes:
        change: Root mean square of the output's change, in units of the output's own; the largest of two exchanges
            and both modes.
        count: Examples in the batch.
    """

    change: float
    count: int


def input_use(sample: Sample) -> InputUse | None:
    """Put one example in the place of all, then another one, and measure what the outputs make of it.

    None where examples cannot be exchanged, where they are all alike, and for a model that has nothing but biases
    and is meant to be a constant.
    """
    batch, model = sample.few(_FEWEST), sample.awake
    count = example_count(batch)
    if count < 2 or not one_row_each(batch) or not any(one.ndim >= 2 for one in model.parameters()):
        return None
    first = farthest(batch, 0)
    donors = {first, farthest(batch, first)} if first else set()
    changes = []
    for training in (
        False,
        True,
    ):  # young running statistics may hide the input from a deep net in evaluation mode
        _, own = recorded(sample, model, batch, training)
        for donor in sorted(donors):
            _, other = recorded(sample, model, chosen(batch, [donor] * count), training)
            changes += _changes(own, other)
    return InputUse(max(changes), count) if changes else None


def _changes(one: list[Call], other: list[Call]) -> list[float]:
    """Return the relative changes of outputs whose inputs differ: examples may differ in their targets alone."""
    changes = []
    for first, second in zip(one, other, strict=False):
        a, b = first.output, second.output
        if a is None or b is None or a.shape != b.shape or equal_nests(first.inputs, second.inputs):
            continue
        size = root_mean_square(a)
        if a.isfinite().all() and b.isfinite().all():
            changes.append(root_mean_square(a - b) / size if size else float(not torch.equal(a, b)))
    return changes
