from __future__ import annotations

import gc
import traceback
import weakref

import pytest
import torch
from programs import batches_of, blob_task, blobs, program_of
from torch import Tensor

from lrtune.errors import UserCodeError, user_code
from lrtune.population.failures import freed
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation


def test_lines_stay_and_memory_goes() -> None:
    """The tensors that the frames held are free, and the traceback still shows the user's line."""
    held: list[weakref.ref[Tensor]] = []

    def users_function() -> None:
        large = torch.zeros(10)
        held.append(weakref.ref(large))
        raise ValueError("no good")

    with pytest.raises(UserCodeError) as found, user_code("training"):
        users_function()
    error = found.value
    assert held[0]() is not None
    assert freed(error) is error
    assert held[0]() is None
    assert 'raise ValueError("no good")' in "".join(traceback.format_exception(error))


def test_a_member_that_has_failed() -> None:
    """A population remembers what a member raised, not the activations that it was computing with."""
    held: list[weakref.ref[Tensor]] = []

    def loss(output: Tensor, target: Tensor) -> Tensor:
        activations = output * 2
        held.append(weakref.ref(activations))
        raise ValueError("no good")

    population = SerialPopulation(
        program_of(blob_task(loss=loss)), [Member(0.1)], batches_of(blobs(16), 8), {}
    )
    with pytest.raises(UserCodeError, match="no good"):
        population.advance(2)
    gc.collect()
    assert len(held) == 1
    assert held[0]() is None
