from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from lrtune.random_state import RandomStream, mixed, preserved, seed_everything, seeded

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

GENERATORS: dict[str, Callable[[], float]] = {
    "python": random.random,
    "numpy": np.random.rand,
    "torch": lambda: torch.rand(()).item(),
}


def drawn(count: int = 1) -> list[float]:
    """Draw from all three generators, `count` times."""
    return [draw() for _ in range(count) for draw in GENERATORS.values()]


@pytest.mark.parametrize("draw", GENERATORS.values(), ids=GENERATORS)
@pytest.mark.parametrize(
    "block",
    [
        pytest.param(preserved, id="preserved"),
        pytest.param(lambda: seeded(7), id="seeded"),
        pytest.param(lambda: RandomStream(7), id="stream"),
    ],
)
@pytest.mark.parametrize("raises", [False, True], ids=["returns", "raises"])
def test_the_callers_generators_stand_where_they_stood(
    draw: Callable[[], float], block: Callable[[], AbstractContextManager[object]], raises: bool
) -> None:
    """What a block draws, seeds or raises does not move the caller's next number."""
    seed_everything(1)
    expected = [draw(), draw()]
    seed_everything(1)
    first = draw()
    try:
        with block():
            draw()
            seed_everything(99)
            if raises:
                raise ValueError
    except ValueError:
        assert raises
    assert [first, draw()] == expected


@pytest.mark.parametrize("draw", GENERATORS.values(), ids=GENERATORS)
def test_seeded_is_as_after_seeding(draw: Callable[[], float]) -> None:
    """A seeded block draws what a script draws after seeding, whatever the state outside."""
    seed_everything(3)
    expected = draw()
    draw()
    with seeded(3):
        assert draw() == expected


def test_seed_everything_seeds_as_the_plain_functions_do() -> None:
    """The numbers are those of random.seed, np.random.seed and torch.manual_seed."""
    with preserved():
        seed_everything(5)
        found = drawn()
        random.seed(5)
        np.random.seed(5)
        torch.manual_seed(5)
        assert found == drawn()


def test_any_seed_of_63_bits_can_be_used() -> None:
    """NumPy takes 32 bits only; larger seeds do not raise."""
    with seeded(2**63 - 1):
        drawn()


def test_a_stream_goes_on_where_its_block_ended() -> None:
    """Cut into blocks, a stream gives the numbers that one block gives, in all generators."""
    with seeded(4):
        expected = drawn(3)
    stream = RandomStream(4)
    found = []
    for _ in range(3):
        with stream:
            found += drawn()
        drawn(2)  # the world goes on in between
    assert found == expected


def test_streams_do_not_disturb_each_other() -> None:
    """Two streams taken in turn give what each gives alone."""
    one, other = RandomStream(1), RandomStream(2)
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(3):
        for seed, stream in ((1, one), (2, other)):
            with stream:
                found[seed] += drawn()
    for seed, values in found.items():
        with seeded(seed):
            assert values == drawn(3)


def test_a_stream_goes_on_after_an_exception() -> None:
    """A block that raises ends the stream where it got to."""
    with seeded(4):
        expected = drawn(2)
    stream = RandomStream(4)
    first: list[float] = []
    with suppress(ValueError), stream:
        first += drawn()
        raise ValueError
    with stream:
        assert first + drawn() == expected


@pytest.mark.parametrize("before", [True, False], ids=["in use before", "in use since"])
def test_all_devices_are_put_back(monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    """Every CUDA device stands where it stood; where CUDA comes into use in the block, nothing is put back."""
    states, used = [torch.tensor([1]), torch.tensor([2])], [before]
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: used[0])
    monkeypatch.setattr("torch.cuda.get_rng_state_all", lambda: list(states))
    monkeypatch.setattr("torch.cuda.set_rng_state_all", lambda new: states.__setitem__(slice(None), new))
    with preserved():
        used[0] = True
        states[:] = [torch.tensor([7]), torch.tensor([8])]
    assert [int(state) for state in states] == ([1, 2] if before else [7, 8])


def test_mixed_seeds_are_far_apart() -> None:
    """Neighbouring inputs, and the same ones in another order, give different 63-bit seeds, the same ones again."""
    seeds = {mixed(seed, epoch) for seed in range(50) for epoch in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert mixed(1, 2) == mixed(1, 2) != mixed(2, 1)
    bits = np.array([[seed >> bit & 1 for bit in range(63)] for seed in seeds])
    assert abs(bits.mean(0) - 0.5).max() < 0.06  # six standard errors of 2500 fair bits
