from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from memory_programs import BATCH, TASKS, allocated
from programs import CPU, program_of

from lrtune.data.source import open_data
from lrtune.population.memory import fitting, ran_out_of_memory
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent

if TYPE_CHECKING:
    from collections.abc import Callable

    import lrtune

STEPS = 8


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_one_by_one_takes_what_a_plain_loop_takes(make: Callable[[], lrtune.Task]) -> None:
    """A member trained alone takes at most 1.1 times the memory of an ordinary loop over the same batches."""
    program = program_of(make(), name="adamw")
    train = open_data(program.task, BATCH, 0, CPU, Silent()).train
    task = program.task
    assert task.loss is not None

    def plain() -> None:
        model = task.model()
        optimizer = program.build_optimizer(model, 0.001, 0.01)
        for (inputs, target), _ in zip(train.stream(0), range(STEPS), strict=False):
            optimizer.zero_grad()
            task.loss(model(inputs), target).backward()  # type: ignore[misc]
            optimizer.step()

    plain()  # what torch allocates once and for all
    alone = allocated(lambda: SerialPopulation(program, [Member(0.001, 0.01)], train, {}).advance(STEPS))
    assert alone <= 1.1 * allocated(plain)


def test_how_many_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many members as half of the free memory holds parameters, gradients and two moments of; never none."""
    program = program_of(TASKS["perceptron"]())
    each = 4 * 4 * sum(one.numel() for one in program.build_model().parameters())
    for free, most in ((2 * 5 * each, 5), (2 * 5 * each - 2, 4), (0, 1)):
        monkeypatch.setattr("lrtune.population.memory.free_bytes", lambda device, free=free: free)
        assert fitting(program) == most


@pytest.mark.parametrize(
    ("error", "lack"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes differ"), False),
        (ValueError("out of memory of names"), False),
        (None, False),
    ],
    ids=str,
)
def test_lack_of_memory(error: Exception | None, lack: bool) -> None:
    """Every way in which torch says so is known, behind another exception too."""
    assert ran_out_of_memory(error) is lack
    outer = KeyError()
    outer.__cause__ = error
    assert ran_out_of_memory(outer) is lack
