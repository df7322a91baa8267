from __future__ import annotations

import os
import signal
import time
import traceback
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import Choosy, batches_of, blob_task, blobs, mlp, no_loader
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

import lrtune
from lrtune.errors import TaskError, UserCodeError
from lrtune.population.channels_last import laid_out
from lrtune.population.fused.population import FusedPopulation
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.population import ShardedPopulation
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.population.sharded.shard import WorkersDiedError
from lrtune.population.sharded.worker import Nested
from lrtune.progress import Silent
from lrtune.steps.context import open_context

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lrtune.population.program import Program
    from lrtune.population.protocol import Population
    from lrtune.population.sharded.pool import WorkerPool

MEMBERS = [
    Member(0.1, 0.0, 0, 0),
    Member(0.03, 0.01, 1, 5),
    Member(0.2, 0.0, 2, 0),
    Member(0.05, 0.1, 3, 0),
    Member(0.1, 0.0, 4, 5),
]
SGD = {"name": "sgd", "momentum": 0.9}
WORKERS = 2


class Convolutional(nn.Module):
    """Convolution, batch normalisation and dropout: rounding, buffers and random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, 6, 2), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Dropout(0.3), nn.Linear(6, 3)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits."""
        return self.layers(inputs.view(-1, 1, 2, 2))


class Streamed(IterableDataset[Any]):
    """Examples in their own order, with noise drawn at each reading."""

    def __iter__(self) -> Iterator[Any]:
        for inputs, label in zip(*blobs(40).tensors, strict=True):
            yield inputs + 0.1 * torch.randn(4), label


class Scaled:
    """A loss that remembers: a running mean that its values are divided by."""

    def __init__(self) -> None:
        self.mean = 1.0

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the loss over its running mean."""
        loss = F.cross_entropy(output, target)
        self.mean = 0.9 * self.mean + 0.1 * float(loss.detach())
        return loss / self.mean


def grouped(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
    """An optimizer of the user's own, with a rate a group."""
    first, *others = model.parameters()
    return torch.optim.AdamW(
        [{"params": [first]}, {"params": others, "lr": lr / 3}], lr, weight_decay=weight_decay
    )


TASKS: dict[str, Callable[[], lrtune.Task]] = {
    "perceptron": blob_task,
    "convolutions, batch norm and dropout": lambda: blob_task(model=Convolutional),
    "own optimizer": lambda: blob_task(optimizer=grouped),
    "loss that remembers": lambda: blob_task(loss=Scaled()),
    "data loader": lambda: blob_task(train=DataLoader(blobs(40), 8, shuffle=True)),
    "stream": lambda: blob_task(train=Streamed()),
}


class Setting:
    """A task with its workers."""

    def __init__(self, task: lrtune.Task, pool: WorkerPool, program: Program, train: Any) -> None:
        self.task, self.pool, self.program, self.train = task, pool, program, train
        self.splits = {"val": batches_of(blobs(48, seed=1), 16)}

    def sharded(self, members: list[Member], nested: Nested | None = None) -> ShardedPopulation:
        """Return members in the workers."""
        return ShardedPopulation(self.program, members, self.train, self.splits, self.pool, WORKERS, nested)

    def serial(self, members: list[Member]) -> SerialPopulation:
        """Return the same members here."""
        return SerialPopulation(self.program, members, self.train, self.splits)


@contextmanager
def setting(task: lrtune.Task, **keys: Any) -> Iterator[Setting]:
    """A task whose workers are gone afterwards; torch uses one thread here too, as the tests' settings have it."""
    assert torch.get_num_threads() == 1
    workers = {"execution": "sharded", "workers": WORKERS}
    config = lrtune.Config(device="cpu", batch_size=8, optimizer=SGD, population=workers, **keys)
    context = open_context(task, config, Silent(), no_loader)
    assert context.pool is not None
    try:
        yield Setting(task, context.pool, context.program, context.data.train)
    finally:
        context.close()


def equal(one: Tensor, other: Tensor) -> bool:
    """Bitwise, NaN where the other has NaN."""
    return one.shape == other.shape and torch.equal(torch.nan_to_num(one, 7e7), torch.nan_to_num(other, 7e7))


def assert_same(found: Population, wanted: Population) -> None:
    """Both have the same members and measure and export bitwise the same."""
    assert found.members == wanted.members
    for training_mode in (False, True):
        one, other = (population.evaluate("val", training_mode) for population in (found, wanted))
        assert equal(one.loss, other.loss)
        assert list(one.metrics) == list(other.metrics)
        assert all(equal(one.metrics[name], other.metrics[name]) for name in other.metrics)
    for member in range(len(wanted.members)):
        state, other_state = found.export(member), wanted.export(member)
        assert list(state) == list(other_state)
        assert all(equal(state[key], other_state[key]) for key in state)


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_bitwise_as_serial(make: Callable[[], lrtune.Task]) -> None:
    """Losses, evaluations and parameters are bit for bit the serial execution's, before and after a selection."""
    with setting(make()) as has:
        sharded, serial = has.sharded(MEMBERS), has.serial(MEMBERS)
        for steps in (1, 12):
            assert equal(sharded.advance(steps), serial.advance(steps))
            assert_same(sharded, serial)
        for one in (sharded, serial):
            one.keep([3, 0, 4])
        assert equal(sharded.advance(9), serial.advance(9))
        assert_same(sharded, serial)


def test_fused_in_each_worker() -> None:
    """Workers that train their members as one program give bitwise what such programs of the same members give here."""
    with setting(blob_task()) as has:
        sharded = has.sharded(MEMBERS, Nested("fused", traced=True))
        losses = sharded.advance(20)
        for slot in range(WORKERS):
            dealt = MEMBERS[slot::WORKERS]
            alone = FusedPopulation(has.program, dealt, has.train, has.splits, traced=True)
            assert equal(losses[slot::WORKERS], alone.advance(20))
            found, wanted = sharded.evaluate("val"), alone.evaluate("val")
            assert equal(found.loss[slot::WORKERS], wanted.loss)


def test_several_populations_side_by_side() -> None:
    """Populations in the same workers do not see each other, and one that is dropped leaves the other as it was."""
    with setting(blob_task()) as has:
        first, second = has.sharded(MEMBERS[:3]), has.sharded(MEMBERS[3:])
        references = has.serial(MEMBERS[:3]), has.serial(MEMBERS[3:])
        for _ in range(2):
            for one, reference in zip((first, second), references, strict=True):
                assert equal(one.advance(4), reference.advance(4))
        del first
        assert equal(second.advance(4), references[1].advance(4))


def test_divergence_disturbs_nobody() -> None:
    """A member that diverges has NaN from there on; the others, in its worker and elsewhere, go on."""

    def squared(output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output, F.one_hot(target, 3).float())

    members = [MEMBERS[0], Member(1e10), MEMBERS[2]]
    with setting(blob_task(loss=squared)) as has:
        sharded, serial = has.sharded(members), has.serial(members)
        losses = sharded.advance(20)
        assert equal(losses, serial.advance(20))
        assert torch.isnan(losses[1]).any()
        assert not torch.isnan(losses[[0, 2]]).any()
        assert_same(sharded, serial)


@pytest.mark.parametrize("nested", [Nested(), Nested("fused", traced=True)], ids=["serial", "fused"])
def test_a_killed_worker_changes_no_number(nested: Nested) -> None:
    """A worker killed with -9 again and again is replaced; losses and parameters are those of an undisturbed run."""
    with setting(blob_task(model=Convolutional) if nested.execution == "serial" else blob_task()) as has:
        undisturbed, killed = has.sharded(MEMBERS, nested), has.sharded(MEMBERS, nested)
        for steps, selection in ((7, [4, 1, 2]), (9, [2, 0]), (5, [0])):
            wanted = undisturbed.advance(steps)
            os.kill(has.pool.processes[1], signal.SIGKILL)
            assert equal(killed.advance(steps), wanted)
            for one in (undisturbed, killed):
                one.keep(selection)
        assert_same(killed, undisturbed)


def test_a_killed_template_changes_no_number() -> None:
    """With the template and both workers gone, others take over."""
    with setting(blob_task()) as has:
        sharded, serial = has.sharded(MEMBERS), has.serial(MEMBERS)
        assert equal(sharded.advance(3), serial.advance(3))
        for process in has.pool.processes:
            os.kill(process, signal.SIGKILL)
        assert equal(sharded.advance(3), serial.advance(3))
        assert_same(sharded, serial)


def test_a_worker_that_dies_of_its_work(tmp_path: Path) -> None:
    """Where worker after worker dies at the same step, the third death is told as a lack of memory; work goes on."""
    parent = os.getpid()

    def greedy(output: Tensor, target: Tensor) -> Tensor:
        if os.getpid() != parent:
            with (tmp_path / "calls").open("a") as file:
                file.write(f"{os.getpid()}\n")
            os.kill(os.getpid(), signal.SIGKILL)
        return F.cross_entropy(output, target)

    with setting(blob_task(loss=greedy)) as has:
        sharded = has.sharded(MEMBERS[:1])
        with pytest.raises(WorkersDiedError, match=r"ended 3 times in a row .* out of memory") as raised:
            sharded.advance(1)
        assert isinstance(raised.value, MemoryError)
        assert has.pool.lost
        assert len(set((tmp_path / "calls").read_text().split())) == 3
        assert has.sharded(MEMBERS[:2]).members == tuple(MEMBERS[:2])


def test_a_failure_arrives_with_the_users_line() -> None:
    """What the user's code raises is the member's failure, of its own type, with the line that raised it."""
    members = [MEMBERS[0], Member(1e6), MEMBERS[2]]
    with setting(blob_task(model=Choosy)) as has:
        sharded, serial = has.sharded(members), has.serial(members)
        assert equal(sharded.advance(20), serial.advance(20))
        failures = sharded.failures
        assert [failure is None for failure in failures] == [True, False, True]
        failure = failures[1]
        assert isinstance(failure, UserCodeError)
        assert str(failure) == str(serial.failures[1])
        cause = failure.__cause__
        assert isinstance(cause, ValueError)
        assert 'raise ValueError("weights out of bounds")' in "".join(traceback.format_exception(cause))
        assert sharded.failures[1] is failure
        sharded.keep([0, 2])
        assert sharded.failures == (None, None)


def test_all_have_failed() -> None:
    """When every member has failed, whichever workers they were in, the first one's failure is raised."""
    with setting(blob_task(model=Choosy)) as has:
        sharded = has.sharded([Member(1e6), Member(2e6), Member(3e6)])
        with pytest.raises(UserCodeError, match="weights out of bounds"):
            sharded.advance(20)


def test_no_gradient_is_a_task_error() -> None:
    """Errors of lrtune's own keep their type on the way."""
    with (
        setting(blob_task(loss=lambda output, target: F.cross_entropy(output.detach(), target))) as has,
        pytest.raises(TaskError, match="does not depend on any parameter"),
    ):
        has.sharded(MEMBERS).advance(1)


def test_loaders_with_workers_of_their_own() -> None:
    """A DataLoader with processes of its own works within a worker, and nothing of it is left afterwards."""
    loader = DataLoader(blobs(40), 8, shuffle=True, num_workers=1)
    with setting(blob_task(train=loader)) as has:
        sharded, serial = has.sharded(MEMBERS[:2]), has.serial(MEMBERS[:2])
        assert equal(sharded.advance(7), serial.advance(7))
        groups = has.pool.processes[1:]
        assert len(_living(groups)) >= 2 * WORKERS
    deadline = time.monotonic() + 10
    while _living(groups):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_what_cannot_be_sent_is_refused() -> None:
    """A part of later that cannot be pickled is named in the refusal; what was there from the start needs no pickle."""
    with setting(blob_task(loss=lambda output, target: F.cross_entropy(output, target))) as has:
        assert has.sharded(MEMBERS).advance(1).isfinite().all()
        has.splits["val"] = batches_of(blobs(8), 8)
        has.splits["val"].handle = (part for part in ())  # type: ignore[attr-defined]
        with pytest.raises(CannotShardError, match=r"cannot be sent to another process.*generator"):
            has.sharded(MEMBERS)


def test_the_dataset_is_not_copied() -> None:
    """A worker that has trained on a dataset of 200 MB in memory has taken up a small part of that by itself."""
    data = TensorDataset(torch.randn(20_000, 2500), torch.arange(20_000) % 3)
    size = sum(tensor.nbytes for tensor in data.tensors)
    with setting(blob_task(model=lambda: mlp(2500), train=data)) as has:
        sharded = has.sharded(MEMBERS[:2])
        sharded.advance(3)
        own = {process: _own_bytes(process) for process in has.pool.processes}
        assert all(held < size / 8 for held in own.values())


def _living(groups: list[int]) -> list[int]:
    """Return the processes of some groups that are not dead, whether or not anybody has waited for them."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            found += [int(path.parent.name)] if int(group) in groups and state != "Z" else []
    return found


def _own_bytes(process: int) -> int:
    """Return what a process holds that no other shares."""
    path = Path(f"/proc/{process}/smaps_rollup")
    if not path.exists():
        pytest.skip("this system does not tell what memory a process shares")
    lines = [line.split() for line in path.read_text().splitlines()]
    return sum(1024 * int(words[1]) for words in lines if words[0] in ("Private_Clean:", "Private_Dirty:"))


def test_channels_last_in_workers() -> None:
    """Workers lay their members' models out as the plan says: bitwise what one process gives so, and rounded else."""
    with setting(blob_task(model=Convolutional)) as has:
        sharded = has.sharded(MEMBERS, Nested(channels_last=True))
        serial = SerialPopulation(laid_out(has.program, True), MEMBERS, has.train, has.splits)
        assert equal(sharded.advance(12), serial.advance(12))
        assert_same(sharded, serial)


def test_precision_in_workers() -> None:
    """Under autocast the workers compute as this process does."""
    with setting(blob_task(), precision="bfloat16") as has:
        assert has.program.task.autocast == "cpu"
        sharded, serial = has.sharded(MEMBERS), has.serial(MEMBERS)
        losses = sharded.advance(8)
        assert equal(losses, serial.advance(8))
        single = SerialPopulation(replace(has.program, precision="float32"), MEMBERS, has.train, has.splits)
        assert not equal(losses, single.advance(8))
