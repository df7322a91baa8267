"""A model whose smallest weights are enlarged, so that what hangs on products of them can be seen.

Transformers begin with deviations of 0.02 (Radford et al., "Language Models are Unsupervised Multitask Learners",
2019): their attention scores are then so near to zero that a softmax gives equal shares to all, whatever the dimension
it runs over. Training makes them large.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from lrtune.probes.model.awakened import awaken
from lrtune.probes.model.settled import has_statistics, settled

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_SMALL = (
    0.4  # of 1/sqrt(fan in), the deviation that keeps a signal's size; torch's own default has 0.58 of it
)


def louder(sample: Sample) -> nn.Module | None:
    """Return an awakened model of its own in evaluation mode, its small weights enlarged; None where none are small."""
    if not any(_is_small(one) for one in _matrices(sample.awake)):
        return None
    model = settled(sample) if has_statistics(sample.awake) else sample.build()
    awaken(model, sample.seed)
    with torch.no_grad():
        for weight in _matrices(model):
            if _is_small(weight):
                weight.mul_(_wanted(weight) / weight.std())
    return model.eval()


def _matrices(model: nn.Module) -> list[nn.Parameter]:
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)}
    return [
        one
        for one in model.parameters()
        if one.ndim >= 2 and one.is_floating_point() and id(one) not in tables
    ]


def _wanted(weight: nn.Parameter) -> float:
    return float((weight.shape[0] / weight.numel()) ** 0.5)


def _is_small(weight: nn.Parameter) -> bool:
    if weight.numel() <= weight.shape[0]:
        return False
    deviation = float(weight.detach().std())
    return 0 < deviation < _SMALL * _wanted(weight)
