"""Random state as a value: taken, swapped in, put back.

Python's `random`, NumPy and torch (CPU and every accelerator in use) each keep a global generator, and user code
draws from any of them. Everything that lrtune runs draws from a `RandomStream` of its own, so that the caller's
generators stand exactly where they stood (`preserved`) and no member of a population depends on another.
"""

from __future__ import annotations

import random
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Iterator

_MIX = 0x9E3779B97F4A7C15  # 2**64 / golden ratio: the increment of splitmix64 (Steele et al., OOPSLA 2014)


def mixed(*numbers: int) -> int:
    """Return one 63-bit seed from several integers; nearby inputs give unrelated seeds.

    The finaliser of splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
    """
    state = 0
    for number in numbers:
        state = (state + number + _MIX) % 2**64
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) % 2**64
        state ^= state >> 31
    return state >> 1


@dataclass(frozen=True)
class _State:
    python: Any
    numpy: Any
    cpu: torch.Tensor
    cuda: list[torch.Tensor] | None  # one a device
    mps: torch.Tensor | None


def _taken() -> _State:
    # A context on the GPU is made only by whoever uses it: asking for its state would create one.
    in_use = torch.cuda.is_available() and torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    cuda = torch.cuda.get_rng_state_all() if in_use else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return _State(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda, mps)


def _put(state: _State) -> None:
    random.setstate(state.python)
    np.random.set_state(state.numpy)
    torch.set_rng_state(state.cpu)
    if (
        state.cuda is not None
    ):  # None also where CUDA has come into use since: then there is nothing to put back
        torch.cuda.set_rng_state_all(state.cuda)
    if state.mps is not None:
        torch.mps.set_rng_state(state.mps)


def seed_everything(seed: int) -> None:
    """Seed the three global generators as a plain training script would with one number."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # NumPy's legacy generator takes 32 bits
    if _has_accelerator():
        torch.manual_seed(seed)
    else:  # the same for the CPU, a hundred times as fast: torch's own notes for each absent device who called it
        torch.default_generator.manual_seed(seed)


@cache
def _has_accelerator() -> bool:
    return torch.accelerator.is_available()


@contextmanager
def preserved() -> Iterator[None]:
    """Leave every global generator as it was found, also after an exception."""
    state = _taken()
    try:
        yield
    finally:
        _put(state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block as after `seed_everything(seed)`, and leave the global generators as they were."""
    with preserved():
        seed_everything(seed)
        yield


class RandomStream:
    """A sequence of random numbers that goes on where its last block ended.

    Args:
        seed: Where the stream begins.

    Example:
        >>> stream = RandomStream(0)
        >>> with stream: first = torch.rand(1)
        >>> with stream: second = torch.rand(1)
        >>> with seeded(0): bool(torch.equal(torch.cat([first, second]), torch.cat([torch.rand(1), torch.rand(1)])))
        True
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: _State | None = None
        self._outer: _State | None = None

    def __enter__(self) -> RandomStream:
        self._outer = _taken()
        if self._state is None:
            seed_everything(self._seed)
        else:
            _put(self._state)
        return self

    def __exit__(self, *_: object) -> None:
        self._state = _taken()
        if self._outer is not None:
            _put(self._outer)
