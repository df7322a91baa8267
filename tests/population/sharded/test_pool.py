from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from programs import Notes, batches_of, blob_task, blobs, no_loader
from torch.utils.data import Dataset

import lrtune
from lrtune.config import PopulationConfig
from lrtune.data.resident import ResidentBatches
from lrtune.population.planner import Planner
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.population.sharded.fork_server import ForkError
from lrtune.population.sharded.pool import WorkerPool
from lrtune.population.sharded.population import ShardedPopulation
from lrtune.population.sharded.refusal import CannotShardError
from lrtune.progress import Silent
from lrtune.run_dir import RunDir
from lrtune.steps.context import open_context

if TYPE_CHECKING:
    from collections.abc import Callable

MEMBERS = [Member(rate) for rate in (0.1, 0.2, 0.3)]
SHARDED = {"execution": "sharded", "workers": 2}
TESTS = Path(__file__).resolve().parents[2]


def pool_of(task: lrtune.Task) -> tuple[WorkerPool, Any, Any]:
    """A task's workers, program and training batches."""
    context = open_context(task, lrtune.Config(device="cpu", population=SHARDED), Silent(), no_loader)
    assert context.pool is not None
    return context.pool, context.program, context.data.train


def started(task: lrtune.Task) -> tuple[WorkerPool, ShardedPopulation]:
    """Workers that have begun to train."""
    pool, program, train = pool_of(task)
    population = ShardedPopulation(program, MEMBERS, train, {}, pool)
    population.advance(1)
    assert len(pool.processes) == 3
    return pool, population


def living(processes: list[int]) -> list[int]:
    """Those that are not dead, whether or not anybody has waited for them."""
    found = []
    for process in processes:
        path = Path(f"/proc/{process}/stat")
        try:
            found += [process] if path.read_text().rpartition(")")[2].split()[0] != "Z" else []
        except OSError:
            continue
    return found


def gone(processes: list[int], seconds: float = 10.0) -> bool:
    """Wait for processes to end; False if they do not."""
    deadline = time.monotonic() + seconds
    while living(processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def children() -> set[int]:
    """The processes that this one has started, the dead that nobody has waited for included."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(path.parent.name))
        except OSError:
            continue
    return found


def test_nothing_is_started_before_it_is_needed() -> None:
    """An open context alone costs no process."""
    pool, _, _ = pool_of(blob_task())
    assert pool.processes == []


def test_closing_ends_all() -> None:
    """After `close` no process is left, not even a dead one; a population goes on with new ones as before."""
    before = children()
    pool, population = started(blob_task())
    processes = pool.processes
    pool.close()
    assert not any(Path(f"/proc/{process}").exists() for process in processes)
    _, other = started(blob_task())
    assert torch.equal(population.advance(5), other.advance(5))
    pool.close()
    del other, _
    gc.collect()
    assert children() == before


def test_nobody_closes() -> None:
    """Workers whose pool and populations are forgotten end by themselves."""
    pool, population = started(blob_task())
    processes = pool.processes
    del pool, population
    gc.collect()
    assert gone(processes)


STEPS: dict[str, Callable[..., lrtune.StepResult]] = {
    "overfit": lrtune.overfit,
    "find_lr": lrtune.find_lr,
    "coarse_grid": lrtune.coarse_grid,
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_steps_ride_on_it(step: Any, tmp_path: Path) -> None:
    """Steps give in workers what they give one by one, and leave no process and no lock behind."""
    before = children()
    config = {
        "device": "cpu",
        "batch_size": 16,
        "overfit": {"batches": 2, "steps": 100},
        "find_lr": {"steps": 30, "repeats": 2},
        "coarse": {"lr": [0.03, 0.1], "weight_decay": [0.0], "epochs": 2},
    }
    results = [
        step(blob_task(), lrtune.Config(**config, population=population, run_dir=str(tmp_path / name)))
        for name, population in (("serial", {"execution": "serial"}), ("sharded", SHARDED))
    ]
    assert children() == before
    for result in results:
        result.summary.pop("seconds", None)
    assert results[0].summary == results[1].summary
    assert {name: curve.loss for name, curve in results[0].curves.items()} == {
        name: curve.loss for name, curve in results[1].curves.items()
    }


def test_the_users_exception_ends_all() -> None:
    """A step that raises leaves no process either."""
    before = children()

    def failing(output: Any, target: Any) -> Any:
        raise ValueError("never works")

    config = lrtune.Config(device="cpu", coarse={"lr": [0.1, 0.2]}, population=SHARDED)
    with pytest.raises(lrtune.UserCodeError, match="never works"):
        lrtune.coarse_grid(blob_task(loss=failing), config)
    assert children() == before


def test_the_run_directory_is_free_after_kill(tmp_path: Path) -> None:
    """The lock on a run directory is the parent's alone: workers that outlive it for a moment do not hold it."""
    run_dir = RunDir(tmp_path)
    lock = run_dir.locked()
    lock.__enter__()
    pool, _population = started(blob_task())
    lock.__exit__(None, None, None)
    assert len(living(pool.processes)) == 3
    with RunDir(tmp_path).locked():
        pass
    pool.close()


SCRIPT = """
import signal, sys, time
from programs import *
from lrtune.population.protocol import Member

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore

def slow(output, target):
    time.sleep(0.01)
    return F.cross_entropy(output, target)

config = lrtune.Config(device="cpu", population={"execution": "sharded", "workers": 2})
context = open_context(blob_task(loss=slow), config, Notes(), no_loader)
population = context.planner.population([Member(0.1), Member(0.2)], context.data.train, {}, 1)
population.advance(1)
print(*context.pool.processes, flush=True)
population.advance(100_000)
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda how: how.name)
def test_a_parent_that_ends_takes_its_workers_along(how: signal.Signals) -> None:
    """Killed in the middle of a long computation, also by -9, a process leaves no worker behind."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    environment = {**os.environ, "PYTHONPATH": path}
    parent = subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )
    with parent:
        assert parent.stdout is not None
        processes = [int(word) for word in parent.stdout.readline().split()]
        assert len(living(processes)) == 3
        parent.send_signal(how)
        try:
            parent.wait(20)
        finally:
            parent.kill()
    assert gone(processes)


def refused_planner(pool: WorkerPool, program: Any, train: Any) -> tuple[Any, Notes]:
    """What a planner makes of workers that are refused, and what it says."""
    notes = Notes()
    planner = Planner(program, PopulationConfig(**SHARDED), notes, pool=pool)
    return planner.population(MEMBERS, train, {}, steps=1), notes


def test_gradients_refused_in_a_child(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where torch computes no gradients in forked processes, members are trained here, and a note has torch's words."""
    pool, program, train = pool_of(blob_task())

    def refusing(self: Any, *arguments: Any, **keywords: Any) -> None:
        raise RuntimeError(
            "Unable to handle autograd's threading in combination with fork-based multiprocessing."
        )

    monkeypatch.setattr(torch.Tensor, "backward", refusing)
    with pytest.raises(
        CannotShardError, match=r"torch refuses gradients in a forked process \(Unable to handle"
    ):
        ShardedPopulation(program, MEMBERS, train, {}, pool)
    monkeypatch.undo()
    assert pool.processes == []
    population, notes = refused_planner(pool, program, train)
    assert isinstance(population, SerialPopulation)
    assert "Unable to handle autograd's threading" in notes.notes[0]


def test_no_more_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that gives no further process is no reason to fail."""
    pool, program, train = pool_of(blob_task())

    def refusing() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refusing)
    population, notes = refused_planner(pool, program, train)
    assert isinstance(population, SerialPopulation)
    assert "no further process can be started: Resource temporarily unavailable" in notes.notes[-1]


class Items(Dataset[Any]):
    """Examples made at each reading, in a process that notes it."""

    def __init__(self, record: Path) -> None:
        self.inputs, self.labels = blobs(40).tensors
        self.record = record

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> Any:
        with self.record.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return self.inputs[index], self.labels[index]


@pytest.mark.parametrize("early", [False, True], ids=["forked late", "forked early"])
def test_a_dataset_is_read_once_for_all_workers(
    early: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read example by example is read in one process for all; in the template where that was forked before."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    if hasattr(torch, "accelerator"):
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: early)
    else:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: early)
    record = tmp_path / "read"
    pool, program, train = pool_of(blob_task(train=Items(record)))
    assert isinstance(train, ResidentBatches)
    assert len(pool.processes) == early
    record.unlink()
    population = ShardedPopulation(program, MEMBERS, train, {"val": batches_of(blobs(8), 8)}, pool)
    losses = population.advance(7)
    readers = record.read_text().split()
    assert len(readers) == 40
    assert set(readers) == {str(pool.processes[0] if early else os.getpid())}
    assert torch.equal(losses, SerialPopulation(program, MEMBERS, train, {}).advance(7))
    pool.close()


def test_a_pool_in_a_child_is_not_the_childs() -> None:
    """A process forked from the parent (a data loader's) ends without ending the workers."""
    pool, population = started(blob_task())
    process = os.fork()
    if not process:
        pool.close()
        os._exit(0)
    os.waitpid(process, 0)
    assert len(living(pool.processes)) == 3
    assert population.advance(1).isfinite().all()
    pool.close()


def test_programs_of_two_pools_are_apart() -> None:
    """Two pools at once: closing one, also the first, leaves the other working."""
    first, _first_population = started(blob_task())
    second, population = started(blob_task())
    processes = first.processes
    first.close()
    assert gone(processes)
    assert population.advance(1).isfinite().all()
    second.close()


def test_fork_errors_say_why() -> None:
    """A pool whose system cannot be forked is refused before anything is started."""
    pool = WorkerPool({}, torch.device("meta"), 2)
    assert pool.refused == "worker processes share no meta device"
    with pytest.raises(CannotShardError, match="share no meta device"):
        pool.worker(0)
    assert issubclass(ForkError, Exception)
