from __future__ import annotations

from itertools import count

import pytest
import torch

from lrtune.errors import TaskError
from lrtune.population.blocks import BLOCK_STEPS, next_block, one_at_a_time


def test_a_block_is_bounded_by_steps() -> None:
    """As many batches as are asked for, and no more than a block has."""
    stream = count()
    assert next_block(stream, 3) == [0, 1, 2]
    assert next_block(stream, 1000) == list(range(3, 3 + BLOCK_STEPS))


def test_a_block_is_bounded_by_bytes() -> None:
    """Batches of 40 MB each: two are past the limit of 64 MiB, and no third is taken."""
    large = torch.zeros(1).expand(10_000_000)
    assert len(next_block(iter([large] * 5), 5)) == 2


def test_one_at_a_time() -> None:
    """Only the first batch is read at once; the others when they are asked for."""
    read: list[int] = []
    stream = (read.append(at) or at for at in range(9))  # type: ignore[func-returns-value]
    batches = one_at_a_time(stream, 3)
    assert read == [0]
    assert list(batches) == [0, 1, 2]
    assert list(one_at_a_time(stream, 2)) == [3, 4]


def test_nothing_to_train_on() -> None:
    """A stream without a batch is the task's fault."""
    for taken in (next_block, one_at_a_time):
        with pytest.raises(TaskError, match="gave no batch at all"):
            taken(iter([]), 3)
