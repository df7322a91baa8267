"""How often each class stands in the dataset from which a sampler draws with weights."""

from __future__ import annotations

from collections.abc import Sized
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import WeightedRandomSampler

from lrtune.probes.data.target_place import target_reader
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_EXAMPLES = 1024  # of the dataset that are read, evenly spaced: data may be sorted
_LOPSIDED = 8.0  # times as often as the rarest class: batches without it are not looked behind


def weighted_sampler(train: Any) -> WeightedRandomSampler | None:
    """Return the sampler of a loader that draws examples with weights, None where there is none."""
    batches = getattr(train, "batch_sampler", None)
    for sampler in (getattr(train, "sampler", None), getattr(batches, "sampler", None)):
        if isinstance(sampler, WeightedRandomSampler):
            return sampler
    return None


def dataset_counts(sample: Sample, drawn: dict[int, int]) -> dict[int, int]:
    """Count the labels of the dataset behind a loader that draws with weights.

    Empty where there is no such loader, where its weights are not those of the examples, where labels cannot be read,
    and where the batches hold all classes about as often.

    Args:
        sample: The sample.
        drawn: Examples of each class in its batches.
    """
    loader = sample.program.task.train
    sampler, dataset = weighted_sampler(loader), getattr(loader, "dataset", None)
    if sampler is None or not isinstance(dataset, Sized) or not hasattr(dataset, "__getitem__"):
        return {}
    if len(sampler.weights) != len(dataset) or not drawn:
        return {}
    if len(drawn) > 1 and max(drawn.values()) < _LOPSIDED * min(drawn.values()):
        return {}
    labels = _labels(sample, loader)
    if labels is None:
        return {}
    values, counts = torch.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _labels(sample: Sample, loader: Any) -> torch.Tensor | None:
    """Return the labels of evenly spaced examples, None where there is not one for each."""
    read = target_reader(sample)
    if read is None:
        return None
    count = len(loader.dataset)
    places = torch.linspace(0, count - 1, min(count, _EXAMPLES)).round().long().tolist()
    try:
        with seeded(sample.seed):  # transforms may draw
            target = read(loader.collate_fn([loader.dataset[place] for place in places]))
    except Exception:  # the user's code outside of its loader: it may raise anything
        return None
    if not isinstance(target, torch.Tensor) or target.numel() != len(places):
        return None
    return target.flatten().cpu().long()
