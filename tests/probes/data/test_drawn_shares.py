from __future__ import annotations

from typing import Any

import pytest
import torch
from programs import context_of, generator, mlp
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import BatchSampler, DataLoader, TensorDataset, WeightedRandomSampler

import lrtune
from lrtune.checks.class_weights import drawn_inverted
from lrtune.probes.data.class_counts import label_counts
from lrtune.probes.data.drawn_shares import dataset_counts
from lrtune.probes.sample import Sample

SIZE = 1200
INPUTS = torch.randn(SIZE, 4, generator=generator(0))


def labels_of(shares: list[float]) -> Tensor:
    """Sorted labels of classes with these shares."""
    return torch.repeat_interleave(
        torch.arange(len(shares)), torch.tensor([round(SIZE * share) for share in shares])
    )


def sample_of(
    labels: Tensor, weights: Tensor, seed: int = 0, dicts: bool = False, listed: bool = False
) -> Sample:
    """A loader that draws with weights, of pairs or of dicts."""
    sampler = WeightedRandomSampler(weights.tolist(), SIZE, generator=generator(seed))
    data: Any = TensorDataset(INPUTS, labels)
    fields: dict[str, Any] = {"loss": nn.CrossEntropyLoss()}
    if dicts:
        data = [{"x": x, "label": y} for x, y in zip(INPUTS, labels, strict=True)]
        fields = {"step": in_a_step}
    drawn: dict[str, Any] = {"batch_size": 50, "sampler": sampler}
    if listed:
        drawn = {"batch_sampler": BatchSampler(sampler, 50, drop_last=False)}
    task = lrtune.Task(model=lambda: mlp(4, int(labels.max()) + 1), train=DataLoader(data, **drawn), **fields)
    context = context_of(task, seed=seed)
    train = context.data.train
    return Sample(context.program, train, train.head(20, seed), seed)


def in_a_step(model: nn.Module, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """Score a dict."""
    logits = model(batch["x"])
    return {"loss": F.cross_entropy(logits, batch["label"]), "output": logits, "target": batch["label"]}


def test_known_counts() -> None:
    """The dataset's own labels are counted, and the caller's random state stays."""
    labels = labels_of([0.75, 0.25])
    sample = sample_of(labels, torch.ones(SIZE))
    before = torch.get_rng_state()
    counts = dataset_counts(sample, {0: 100})
    assert torch.equal(before, torch.get_rng_state())
    assert sum(counts.values()) == 1024
    assert counts[1] == pytest.approx(256, abs=2)
    assert dataset_counts(sample, {0: 60, 1: 40}) == {}  # balanced batches are not looked behind


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shares", [[0.95, 0.05], [0.9, 0.1], [0.5, 0.3, 0.15, 0.05]])
@pytest.mark.parametrize("way", ["pairs", "dicts", "batches"])
def test_weights_of_frequencies(shares: list[float], way: str, seed: int) -> None:
    """Weights that go with the classes' frequencies are told; all others are not."""
    labels = labels_of(shares)
    counts = torch.bincount(labels).double()
    kinds = {"inverted": counts, "right": 1 / counts, "root": counts**-0.5, "equal": torch.ones_like(counts)}
    for kind, each in kinds.items():
        sample = sample_of(labels, each[labels], seed, dicts=way == "dicts", listed=way == "batches")
        seen = label_counts(sample)
        assert seen is not None
        found = drawn_inverted(seen.counts, seen.dataset)
        assert (found is not None) == (kind == "inverted"), kind
        if found is not None:
            assert "even less often" in found.message


@pytest.mark.parametrize("seed", range(3))
def test_weights_of_other_kinds(seed: int) -> None:
    """Weights by something else than the class leave its share as it is, however rare it is."""
    labels = labels_of([0.96, 0.04])
    weights = torch.rand(SIZE, generator=generator(seed)) + 0.1
    seen = label_counts(sample_of(labels, weights, seed))
    assert seen is not None
    assert drawn_inverted(seen.counts, seen.dataset) is None


def test_a_weight_for_each_class() -> None:
    """Two weights draw two examples only: that is another fault."""
    sample = sample_of(labels_of([0.9, 0.1]), torch.tensor([0.1, 0.9]))
    assert dataset_counts(sample, {0: 100}) == {}


@pytest.mark.parametrize(
    ("drawn", "dataset", "told"),
    [
        ({0: 1000}, {0: 950, 1: 50}, True),
        ({0: 1000}, {0: 1020, 1: 4}, False),  # may be chance
        ({0: 990, 1: 10}, {0: 970, 1: 30}, True),
        ({0: 990, 1: 10}, {0: 985, 1: 15}, False),
        ({0: 900, 1: 100}, {0: 700, 1: 300}, False),  # not rare
        ({0: 990, 1: 10}, {}, False),
    ],
)
def test_known_shares(drawn: dict[int, int], dataset: dict[int, int], told: bool) -> None:
    """A share that is clearly lower, and a class that is rare."""
    assert (drawn_inverted(drawn, dataset) is not None) == told
