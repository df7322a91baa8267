"""Whether examples are mixed inside a model whose output depends on no input.

A class token that attends along the batch sees the other examples' class tokens, which are all alike: the output is a
constant, and neither an exchange of examples nor another order shows why.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from lrtune.data.nest import example_count
from lrtune.probes.model.batch_mixing import BatchMixing, still, variants
from lrtune.probes.model.model_calls import Call, recorded, root_mean_square
from lrtune.probes.model.module_rows import first_mixing

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 5  # examples, where outputs are large: three that stay, and two others
_RESOLUTION = torch.finfo(torch.float32).eps


def hidden_mixing(sample: Sample) -> BatchMixing | None:
    """Look into a model whose examples can be exchanged; None where an input moves its output, or nothing mixes."""
    batch, model = sample.few(_FEWEST), still(sample)
    one, other, kept = variants(batch, 0)
    (_, first), (_, second) = recorded(sample, model, one), recorded(sample, model, other)
    if not first or len(first) != len(second) or not all(map(_is_deaf, first, second)):
        return None
    place = first_mixing(sample, model, (one, other), kept, example_count(batch))
    if place is None:
        return None
    told = place.change, place.change, _RESOLUTION, kept[0], example_count(batch), place
    return BatchMixing(*told, type(sample.awake).__name__, hidden=True)


def _is_deaf(one: Call, other: Call) -> bool:
    """Say whether two calls with other inputs give the same output."""
    if one.output is None or other.output is None or one.output.shape != other.output.shape:
        return False
    limit = _RESOLUTION * root_mean_square(one.output)
    return bool(one.output.isfinite().all()) and root_mean_square(one.output - other.output) <= limit
