from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from programs import CPU, generator
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from lrtune.data.dataset import DatasetBatches
from lrtune.data.loaded import IterableBatches
from lrtune.data.nest import equal_nests, example_count, tensors_of
from lrtune.data.resident import ResidentBatches, shuffled
from lrtune.data.source import as_batches
from lrtune.errors import TaskError, UserCodeError
from lrtune.progress import Silent
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from lrtune.data.batches import Batches

COUNT, SIZE = 23, 5
NUMBERS = torch.arange(COUNT, dtype=torch.float32)


class Items(Dataset[Any]):
    """A dataset of python items made by a function of the index."""

    def __init__(self, item: Any, count: int = COUNT) -> None:
        self.item, self.count = item, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        if index >= self.count:
            raise IndexError(index)
        return self.item(index)


class Plain:
    """Not a Dataset by type, but indexable and with a length."""

    def __len__(self) -> int:
        return COUNT

    def __getitem__(self, index: int) -> tuple[float, int]:
        return float(index), index


class Stream(IterableDataset[Any]):
    """A dataset that can only be read from its start."""

    def __iter__(self) -> Any:
        return iter(NUMBERS)


DATASETS: dict[str, Any] = {
    "TensorDataset": TensorDataset(NUMBERS[:, None], NUMBERS.long()),
    "Subset": Subset(TensorDataset(torch.arange(50.0)), list(range(40, 40 - COUNT, -1))),
    "tuples of tensors": Items(lambda at: (torch.full((2,), float(at)), torch.tensor(at))),
    "dicts": Items(lambda at: {"x": torch.tensor([float(at)]), "y": at}),
    "numpy": Items(lambda at: (np.full(3, at, dtype=np.float32), np.int64(at))),
    "ints and floats": Items(lambda at: (float(at), at)),
    "nested": Items(lambda at: {"x": (torch.tensor([at]), [torch.tensor(0.5 * at)]), "n": at}),
    "no Dataset by type": Plain(),
}


def opened(data: Any, size: int = SIZE) -> Batches:
    """Return the data as batches on the CPU."""
    return as_batches(data, "train", size, CPU, Silent())


def firsts(batches: Any) -> list[float]:
    """Return the first tensor's numbers of all batches."""
    return [float(value) for batch in batches for value in next(tensors_of(batch)).reshape(-1)]


def same(one: Any, other: Any) -> bool:
    """Say whether two sequences of batches hold the same values, whatever the containers."""
    return equal_nests([list(tensors_of(b)) for b in one], [list(tensors_of(b)) for b in other])


@pytest.mark.parametrize("data", DATASETS.values(), ids=DATASETS)
def test_resident_equals_a_loader(data: Any) -> None:
    """Data in memory give the batches that a DataLoader gives in the same order, values and types alike."""
    batches = opened(data)
    assert isinstance(batches, ResidentBatches)
    for epoch in (0, 3):
        order = shuffled(COUNT, 7, epoch).tolist()
        loader = DataLoader(data, SIZE, sampler=order)
        assert same(batches.epoch(7, epoch), loader)
    assert same(batches.in_order(), DataLoader(data, SIZE))


@pytest.mark.parametrize("data", DATASETS.values(), ids=DATASETS)
def test_loaded_equals_resident(data: Any) -> None:
    """Read through a DataLoader, the same dataset gives the very same batches."""
    loaded, resident = DatasetBatches(data, SIZE, CPU, "train"), opened(data)
    assert same(loaded.epoch(1, 2), resident.epoch(1, 2))
    assert same(loaded.in_order(), resident.in_order())
    assert loaded.batch_count == resident.batch_count == loaded.counted() == 5


ORDERED: dict[str, Any] = {
    "resident": lambda: opened(DATASETS["TensorDataset"]),
    "loaded": lambda: DatasetBatches(DATASETS["TensorDataset"], SIZE, CPU, "train"),
    "user's loader": lambda: opened(DataLoader(TensorDataset(NUMBERS), SIZE, shuffle=True)),
    "user's loader with a generator": lambda: opened(
        DataLoader(TensorDataset(NUMBERS), SIZE, shuffle=True, generator=generator(3))
    ),
}


@pytest.mark.parametrize("make", ORDERED.values(), ids=ORDERED)
def test_order_is_seed_and_epoch_alone(make: Any) -> None:
    """An epoch's order depends on (seed, epoch), not on what was read before or on the global generator."""
    first, second = make(), make()
    expected = [firsts(first.epoch(4, epoch)) for epoch in range(3)]
    torch.manual_seed(99)
    list(second.epoch(1, 0))
    second.head(2, 8)
    assert [firsts(second.epoch(4, epoch)) for epoch in (2, 1, 0)] == expected[::-1]
    assert expected[0] != expected[1]
    assert firsts(second.epoch(5, 0)) != expected[0]


@pytest.mark.parametrize("make", ORDERED.values(), ids=ORDERED)
def test_every_example_once_an_epoch(make: Any) -> None:
    """Each epoch holds every example exactly once, the last batch being the incomplete one."""
    batches = make()
    for seed in range(3):
        read = list(batches.epoch(seed, seed))
        assert [len(next(tensors_of(batch))) for batch in read] == [5, 5, 5, 5, 3]
        assert sorted(firsts(read)) == NUMBERS.tolist()


@pytest.mark.parametrize("make", ORDERED.values(), ids=ORDERED)
def test_stream_joins_epochs(make: Any) -> None:
    """The endless stream is epoch 0, epoch 1 and so on; `head` is its beginning."""
    batches = make()
    stream = batches.stream(6)
    read = [next(stream) for _ in range(7)]
    assert firsts(read) == [*firsts(batches.epoch(6, 0)), *firsts(batches.epoch(6, 1))][: len(firsts(read))]
    assert firsts(batches.head(3, 6)) == firsts(read[:3])


@pytest.mark.parametrize("make", ORDERED.values(), ids=ORDERED)
def test_several_streams_do_not_meet(make: Any) -> None:
    """Two orders read in turns from the same data are those that each gives alone."""
    batches = make()
    alone = [firsts(batches.epoch(seed, 0)) for seed in (1, 2)]
    streams = [batches.epoch(seed, 0) for seed in (1, 2)]
    together: list[list[float]] = [[], []]
    for pair in zip(*streams, strict=True):
        for at, batch in enumerate(pair):
            together[at] += firsts([batch])
    assert together == alone


def test_sampling_with_replacement_in_turns() -> None:
    """A sampler that goes on drawing while it is read draws for each order what it draws alone."""
    draw = generator(3)
    sampler = torch.utils.data.RandomSampler(NUMBERS, replacement=True, num_samples=120, generator=draw)
    batches = opened(DataLoader(TensorDataset(NUMBERS), SIZE, sampler=sampler))
    alone = [firsts(batches.epoch(seed, 0)) for seed in (1, 2)]
    pairs = list(zip(batches.epoch(1, 0), batches.epoch(2, 0), strict=True))
    assert [firsts([pair[at] for pair in pairs]) for at in (0, 1)] == alone


@pytest.mark.parametrize("make", ORDERED.values(), ids=ORDERED)
def test_subset_is_fixed(make: Any) -> None:
    """The fixed subset is the same at each call, of the size asked for, and all data where there are fewer."""
    batches = make()
    once, again = batches.subset(10, 3), batches.subset(10, 3)
    assert firsts(once) == firsts(again)
    assert len(firsts(once)) == 10
    assert sorted(firsts(batches.subset(1000, 3))) == NUMBERS.tolist()


def test_random_items_go_through_a_loader() -> None:
    """An augmenting dataset is not taken into memory: its items differ by epoch, and repeat for the same epoch."""
    batches = opened(Items(lambda at: at + 0.5 * torch.rand(1)))
    assert isinstance(batches, DatasetBatches)
    assert not batches.resident
    assert firsts(batches.epoch(0, 0)) == firsts(batches.epoch(0, 0))
    assert firsts(batches.epoch(0, 0)) != firsts(batches.epoch(0, 1))
    assert firsts(batches.in_order()) == firsts(batches.in_order())


@pytest.mark.parametrize("source", ["python", "numpy"])
def test_other_generators_are_seen(source: str) -> None:
    """Augmentation that draws from python's or numpy's generator is seen, too."""
    import random

    draws = {"python": random.random, "numpy": np.random.rand}
    batches = opened(Items(lambda at: torch.tensor([at + 0.5 * draws[source]()])))
    assert isinstance(batches, DatasetBatches)
    assert firsts(batches.epoch(0, 1)) == firsts(batches.epoch(0, 1))


def test_rare_randomness_in_one_example_is_seen_at_the_ends() -> None:
    """The probe reads examples from the whole range, the last one included."""
    data = Items(lambda at: torch.rand(1) if at == COUNT - 1 else torch.zeros(1))
    assert isinstance(opened(data), DatasetBatches)


def test_strings_go_through_a_loader() -> None:
    """Items that are no tensors cannot be taken into memory, and are batched as a DataLoader does."""
    batches = opened(Items(lambda at: (torch.tensor([float(at)]), f"name {at}")))
    assert isinstance(batches, DatasetBatches)
    first = next(batches.in_order())
    assert list(first[1]) == [f"name {at}" for at in range(5)]


@pytest.mark.parametrize(("free", "resident"), [(10_000, True), (300, False)], ids=["fits", "too big"])
def test_memory(monkeypatch: pytest.MonkeyPatch, free: int, resident: bool) -> None:
    """Data that take more than a quarter of the free memory stay where they are."""
    monkeypatch.setattr("lrtune.data.resident.free_bytes", lambda device: free)
    data = Items(lambda at: torch.full((1,), float(at)))  # 23 examples of 4 bytes
    assert opened(data).resident is resident


def test_opening_reads_only_a_probe() -> None:
    """Opening reads a few examples twice; all are read once, at first use."""
    read: list[int] = []
    data = Items(lambda at: (read.append(at), torch.full((1,), float(at)))[1], 3000)
    batches = opened(data, 64)
    assert len(read) == 32
    batches.head(2, 0)
    assert len(read) == 32 + 128
    read.clear()
    list(batches.epoch(0, 0))
    list(batches.epoch(0, 1))
    assert sorted(read) == list(range(3000))


def test_users_loader_is_used_as_it_is() -> None:
    """A DataLoader's batch size, drop_last and collate function hold."""
    loader = DataLoader(
        TensorDataset(NUMBERS),
        4,
        drop_last=True,
        collate_fn=lambda rows: torch.stack([row[0] for row in rows]) * 10,
    )
    batches = opened(loader)
    assert [len(batch) for batch in batches.epoch(0, 0)] == [4] * 5
    assert firsts(batches.in_order()) == [10.0 * at for at in range(20)]
    assert batches.batch_count == 5


@pytest.mark.parametrize("end", ["to the end", "broken off", "raising"])
def test_generators_are_put_back(end: str) -> None:
    """The loader's generator and the global one are as before: after an epoch, in the middle of one, after an error."""
    draw = generator(5)
    state, outer = draw.get_state(), torch.get_rng_state()
    fail_at = 9 if end == "raising" else None

    def item(at: int) -> torch.Tensor:
        if at == fail_at:
            raise ValueError("broken")
        return torch.rand(1)

    batches = opened(DataLoader(Items(item), SIZE, shuffle=True, generator=draw))
    kept = batches.epoch(0, 0)
    try:
        for number, _ in enumerate(kept):
            if end == "broken off" and number == 1:
                break
    except UserCodeError:
        assert end == "raising"
    assert torch.equal(draw.get_state(), state)
    assert torch.equal(torch.get_rng_state(), outer)


def test_streams_put_generators_back_in_any_order() -> None:
    """Several orders read from one loader leave its generator as it was, whichever ends first."""
    draw = generator(5)
    state = draw.get_state()
    batches = opened(DataLoader(TensorDataset(NUMBERS), SIZE, shuffle=True, generator=draw))
    one, two = batches.stream(1), batches.stream(2)
    next(one), next(two)
    del one
    del two
    assert torch.equal(draw.get_state(), state)


def test_loader_of_a_stream() -> None:
    """An IterableDataset is batched, keeps its order and its last batch; its length is known after a pass."""
    batches = opened(Stream())
    assert isinstance(batches, IterableBatches)
    assert batches.batch_count is None
    assert batches.counted() == 5
    assert firsts(batches.epoch(0, 0)) == NUMBERS.tolist()
    assert batches.batch_count == 5


class Custom:
    """A re-iterable of batches without a length."""

    def __iter__(self) -> Any:
        yield from NUMBERS.split(10)


@pytest.mark.parametrize(
    "data", [list(NUMBERS.split(10)), tuple(NUMBERS.split(10)), Custom()], ids=["list", "tuple", "custom"]
)
def test_re_iterables(data: Any) -> None:
    """A list of batches or another re-iterable is read in its own order, each time from the start."""
    batches = opened(data)
    assert firsts(batches.epoch(0, 0)) == firsts(batches.epoch(1, 5)) == NUMBERS.tolist()
    assert batches.counted() == 3


@pytest.mark.parametrize(
    "make",
    [lambda: DataLoader(TensorDataset(NUMBERS), 64, drop_last=True), Custom],
    ids=["drop_last", "custom"],
)
def test_no_batch_at_all(make: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data that give no batch are the task's fault, and the field is named."""
    monkeypatch.setattr(Custom, "__iter__", lambda self: iter(()))
    with pytest.raises(TaskError, match=r"Task\.train: gave no batch at all"):
        list(opened(make()).epoch(0, 0))


def test_dataset_without_a_length() -> None:
    """A map-style dataset needs a length, and the message says so."""

    class Endless(Dataset[int]):
        def __getitem__(self, index: int) -> int:
            return index

    with pytest.raises(TaskError, match=r"Task\.train: Endless has no __len__"):
        opened(Endless())


def raising(at: int) -> torch.Tensor:
    """Fail as a damaged file would."""
    raise OSError(f"cannot read image {at}")


@pytest.mark.parametrize(
    "make",
    [
        lambda: opened(Items(raising)),
        lambda: list(DatasetBatches(Items(raising), SIZE, CPU, "train").epoch(0, 0)),
        lambda: list(opened(DataLoader(Items(raising), SIZE)).epoch(0, 0)),
        lambda: list(opened(map_of_raising()).in_order()),
        lambda: opened(Items(lambda at: torch.zeros(at))),
    ],
    ids=["dataset", "dataset through a loader", "loader", "iterable", "items that do not stack"],
)
def test_data_that_raise(make: Any) -> None:
    """What the user's data raise arrives as UserCodeError with the original as its cause."""
    with pytest.raises(UserCodeError) as caught:
        make()
    assert isinstance(caught.value.__cause__, OSError | RuntimeError)


class map_of_raising:  # noqa: N801 - used like a function
    """A re-iterable that raises while it is read."""

    def __iter__(self) -> Any:
        yield torch.zeros(1)
        raise OSError("connection lost")


def test_reading_leaves_the_random_state() -> None:
    """Opening and reading any data changes no global generator."""
    with preserved():
        torch.manual_seed(1)
        np.random.seed(1)
        before = torch.get_rng_state(), np.random.get_state()[1].tolist()
        for data in (
            *DATASETS.values(),
            Items(lambda at: torch.rand(1)),
            DataLoader(TensorDataset(NUMBERS), shuffle=True),
        ):
            batches = opened(data)
            list(batches.epoch(0, 0))
            batches.subset(5, 0)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert np.random.get_state()[1].tolist() == before[1]


@pytest.mark.parametrize("shuffle", [True, False], ids=["shuffled", "in order"])
def test_persistent_workers_serve_each_pass_alone(shuffle: bool) -> None:
    """Passes in turns over a loader with persistent workers are what each is alone; the user's own pass goes on."""
    data = Items(lambda at: at + 0.5 * torch.rand(1))
    loader = DataLoader(data, SIZE, shuffle=shuffle, num_workers=1, persistent_workers=True)
    with preserved():
        users = iter(loader)
        read = [next(users)]
        batches = opened(loader)
        alone = [firsts(batches.epoch(seed, 0)) for seed in (1, 2)]
        pairs = list(zip(batches.epoch(1, 0), batches.epoch(2, 0), strict=True))
        read += users
    assert [firsts([pair[at] for pair in pairs]) for at in (0, 1)] == alone
    assert sorted(int(number) for number in firsts(read)) == list(range(COUNT))
    assert loader._iterator is users
    del users, loader._iterator


class Endless(IterableDataset[Any]):
    """A stream that never ends, whatever it says."""

    def __iter__(self) -> Any:
        while True:
            yield torch.zeros(1)


class EndlessWithLength(Endless):
    """The same with a length, at which a DataLoader does not stop."""

    def __len__(self) -> int:
        return 7


def test_endless_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream without an end is refused instead of being counted for ever, and the message says how to bound it."""
    monkeypatch.setattr("lrtune.data.loaded._LONGEST", 20)
    with pytest.raises(
        TaskError, match=r"Task\.train: the stream does not end \(20 batches.*islice.*__len__"
    ):
        opened(Endless()).counted()


@pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning")
def test_endless_stream_with_a_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that says a length is counted by it; an evaluation that goes far past it is refused."""
    monkeypatch.setattr("lrtune.data.loaded._LONGEST", 20)
    batches = opened(EndlessWithLength())
    assert batches.counted() == 2
    with pytest.raises(TaskError, match="does not end"):
        list(batches.in_order())


@pytest.mark.parametrize("empty", [[], (), {}, torch.zeros(0, 3)], ids=repr)
def test_empty_batch(empty: Any) -> None:
    """A batch that holds no example is the task's fault, named by its number."""
    with pytest.raises(TaskError, match=r"Task\.train: batch 2 is empty"):
        list(opened([torch.ones(2), empty]).epoch(0, 0))


def test_a_part_of_a_batch_may_be_empty() -> None:
    """Examples are counted by the first part that has any: a graph may have no edges."""
    batch = {"edges": torch.zeros(0, 2), "nodes": torch.zeros(4, 3)}
    assert example_count(next(opened([batch]).epoch(0, 0))) == 4


@pytest.mark.parametrize("free", [10_000, 300], ids=["fits", "too big"])
@pytest.mark.parametrize("name", ["TensorDataset", "Subset"])
def test_tensors_that_do_not_fit_on_an_accelerator(
    monkeypatch: pytest.MonkeyPatch, name: str, free: int
) -> None:
    """Tensors stay on the CPU where an accelerator has no room for them; on the CPU they already are."""
    monkeypatch.setattr("lrtune.data.resident.free_bytes", lambda device: free)
    expected = ResidentBatches if free > 300 else DatasetBatches
    assert type(as_batches(DATASETS[name], "train", SIZE, torch.device("meta"), Silent())) is expected
    assert type(opened(DATASETS[name])) is ResidentBatches


class Stubborn:
    """A batch object that cannot be moved."""

    num_graphs = 2

    def to(self, device: torch.device) -> Stubborn:
        """Fail as an accelerator without memory does."""
        raise RuntimeError("out of memory")


def test_moving_that_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """What moving data to the device raises names the data and the device."""
    with pytest.raises(UserCodeError, match=r"while moving a batch of Task\.train to cpu: out of memory"):
        next(opened([Stubborn()]).epoch(0, 0))

    def full(nest: Any, device: torch.device) -> Any:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("lrtune.data.resident.to_device", full)
    with pytest.raises(UserCodeError, match="while moving the data of TensorDataset to cpu"):
        next(opened(DATASETS["TensorDataset"]).epoch(0, 0))
