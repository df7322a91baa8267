"""Samples of a user's own loader."""

from __future__ import annotations

import random
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from programs import CPU, generator
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    TensorDataset,
    default_collate,
    get_worker_info,
)

from lrtune.data.dataset import DatasetBatches, SeededByBatch
from lrtune.data.loaded import IterableBatches
from lrtune.data.nest import equal_nests
from lrtune.random_state import mixed

COUNT = 100
SORTED = TensorDataset(torch.arange(COUNT), torch.arange(COUNT) // 10)  # ten classes, one after the other


class Stream(IterableDataset[Any]):
    """Numbers that can only be read from the first on."""

    def __iter__(self) -> Any:
        return iter(torch.arange(COUNT))


class Workers(Dataset[Any]):
    """Examples that only a worker process can read."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> int:
        assert get_worker_info() is not None
        return index


class Endings(DataLoader[Any]):
    """A loader that changes its batches on the way out."""

    def __iter__(self) -> Any:
        return (batch[0] for batch in super().__iter__())


def sample(loader: Any, examples: int = 40, seed: int = 0) -> list[Any]:
    """Return the batches of a fixed sample."""
    return IterableBatches(loader, CPU, "val").subset(examples, seed)


def indices(batches: list[Any]) -> list[int]:
    """Return the examples' numbers."""
    return [int(one) for batch in batches for one in (batch if isinstance(batch, torch.Tensor) else batch[0])]


@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
def test_the_sample_is_random(shuffle: bool) -> None:
    """Data sorted by class give a sample of all classes, of the loader's batch size, the same for the same seed."""
    batches = sample(DataLoader(SORTED, 8, shuffle=shuffle))
    drawn = indices(batches)
    assert [len(batch[0]) for batch in batches] == [8] * 5
    assert len(set(drawn)) == 40
    assert {index // 10 for index in drawn} == set(range(10))
    assert equal_nests(batches, sample(DataLoader(SORTED, 8, shuffle=shuffle)))
    assert drawn != indices(sample(DataLoader(SORTED, 8, shuffle=shuffle), seed=1))


def test_the_sample_holds_enough() -> None:
    """It ends with the batch that completes it, or with the data; an incomplete batch is dropped as the loader does."""
    assert len(indices(sample(DataLoader(SORTED, 8), 33))) == 40
    assert sorted(indices(sample(DataLoader(SORTED, 8), 1000))) == list(range(COUNT))
    assert len(indices(sample(DataLoader(SORTED, 8, drop_last=True), 1000))) == 96


def test_the_loaders_own_collation() -> None:
    """Batches are made as the loader makes them."""
    loader = DataLoader(SORTED, 8, collate_fn=lambda items: {"n": torch.stack([item[0] for item in items])})
    (batch, *_) = sample(loader)
    assert batch.keys() == {"n"}
    assert batch["n"].shape == (8,)


FIRST = {
    "iterable data": DataLoader(Stream(), 8),
    "a sampler of its own": DataLoader(SORTED, 8, sampler=SubsetRandomSampler(range(50, 60), generator(0))),
    "a list as a sampler": DataLoader(SORTED, 8, sampler=list(range(40))),
    "a sampler of other data": DataLoader(SORTED, 8, sampler=SequentialSampler(range(40))),
    "a batch sampler": DataLoader(SORTED, batch_sampler=BatchSampler(SequentialSampler(SORTED), 8, False)),
    "a dataset of batches": DataLoader(SORTED, batch_size=None),
    "an iteration of its own": Endings(SORTED, 8),
    "no loader": [(torch.arange(at, at + 8), torch.zeros(8)) for at in range(0, 96, 8)],
}


@pytest.mark.parametrize("loader", FIRST.values(), ids=FIRST)
def test_what_has_no_indices_gives_its_first_batches(loader: Any) -> None:
    """The sample is then the beginning of the first epoch."""
    own = IterableBatches(loader, CPU, "val")
    batches = sample(loader, 16)
    assert equal_nests(batches, own.head(len(batches), 0))


def test_data_that_fail_alone_are_read_by_the_loader() -> None:
    """A dataset that only a worker can read, or a collation that knows the order, costs the randomness alone."""
    assert indices(sample(DataLoader(Workers(), 8, num_workers=1), 8)) == list(range(8))

    def consecutive(items: list[Any]) -> Any:
        assert all(int(b[0]) - int(a[0]) == 1 for a, b in pairwise(items))
        return default_collate(items)

    assert indices(sample(DataLoader(SORTED, 8, collate_fn=consecutive), 16)) == list(range(16))


def test_sampling_leaves_every_generator() -> None:
    """Neither the global generators nor the loader's own move, also where examples draw numbers."""
    own = generator(5)

    def drawing(items: list[Any]) -> Any:
        return default_collate(
            [(item[0], torch.rand(1), np.random.rand(), random.random()) for item in items]
        )

    sampler = RandomSampler(SORTED, generator=own)
    loader = DataLoader(SORTED, 8, sampler=sampler, collate_fn=drawing, generator=own)
    before = own.get_state(), torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    assert equal_nests(sample(loader), sample(loader))
    assert torch.equal(own.get_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[2:]


class Noisy(Dataset[Any]):
    """Examples augmented by every generator there is."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> Any:
        return index, torch.rand(2), random.random(), np.random.rand()


class Bound(Dataset[Any]):
    """Examples that can only be read in the process that made them."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> int:
        assert get_worker_info() is None
        return index


@pytest.mark.parametrize("workers", [1, 2])
def test_reading_ahead_gives_the_same_whoever_reads(workers: int) -> None:
    """What is drawn depends on seed, epoch and batch, neither on how many processes read nor on their order."""
    batches = DatasetBatches(Noisy(), 10, CPU, "train", workers=workers)
    outer = torch.get_rng_state()
    passes = [list(batches.epoch(seed, epoch)) for seed, epoch in ((3, 1), (3, 1), (3, 2), (4, 1))]
    assert torch.equal(torch.get_rng_state(), outer)
    assert equal_nests(passes[0], passes[1])
    assert not any(equal_nests(passes[0], other) for other in passes[2:])
    assert not torch.equal(passes[0][0][1], passes[0][1][1])
    here = DatasetBatches(SeededByBatch(Noisy(), mixed(3, 1)), 10, CPU, "train", workers=0)
    assert equal_nests(passes[0], list(here.epoch(3, 1)))


def test_the_first_batches_are_those_of_training() -> None:
    """Read ahead or not, the head of an epoch is what its first batches are; few batches start no process."""
    for workers in (0, 1):
        batches = DatasetBatches(Noisy(), 10, CPU, "train", workers=workers)
        assert equal_nests(batches.head(2, 5), list(batches.epoch(5, 0))[:2])
    single = DatasetBatches(Bound(), 10, CPU, "train", workers=0)
    assert len(single.head(3, 0)) == 3


def test_data_of_one_process_are_read_in_it() -> None:
    """What cannot be read in another process (a handle, a tensor on the GPU) is read here."""
    batches = DatasetBatches(Bound(), 10, CPU, "train", workers=2)
    assert sorted(torch.cat(list(batches.epoch(0, 0))).tolist()) == list(range(COUNT))
