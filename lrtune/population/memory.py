"""How much memory a member takes while it trains, and what running out of it looks like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.device import free_bytes
from lrtune.data.nest import byte_count
from lrtune.population.forward import run_batch
from lrtune.random_state import preserved

if TYPE_CHECKING:
    from lrtune.population.program import Program

_COPIES = 4  # of the parameters that a member holds: themselves, a gradient, Adam's two moments
_ACTIVATIONS = 2  # times what the forward pass keeps: the backward pass makes a gradient for much of it
_SHARE = 0.5  # of what is free: data and the caller need the rest
_WORDS = ("out of memory", "can't allocate memory", "not enough memory")


def usable_bytes(program: Program) -> float:
    """Return how much memory members may take where they are trained."""
    return _SHARE * free_bytes(program.device)


def fitting(program: Program) -> int:
    """Return how many members that train one after the other fit at once, at least one."""
    return max(1, int(usable_bytes(program) / max(member_bytes(program), 1)))


def member_bytes(program: Program, batch: Any = None) -> int:
    """Estimate what one member takes: its tensors and the optimizer's, and what a step on `batch` keeps if given."""
    with preserved():
        model = program.build_model()
        held = byte_count([*model.parameters(), *model.buffers()]) * _COPIES
        return held + (0 if batch is None else _ACTIVATIONS * _saved_bytes(program, model, batch))


def _saved_bytes(program: Program, model: torch.nn.Module, batch: Any) -> int:
    """Return what the graph of one forward pass keeps for the backward pass, parameters and inputs left out."""
    known = {tensor.untyped_storage().data_ptr() for tensor in model.parameters()}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        outcome = run_batch(program.task, model.train(), batch)  # held, or another would take the addresses
        total = sum(sizes.values())
    del outcome
    return total


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Say whether an error, or what caused it, is a lack of memory."""
    while error is not None:
        if isinstance(error, MemoryError | torch.OutOfMemoryError):
            return True
        if isinstance(error, RuntimeError) and any(words in str(error).lower() for words in _WORDS):
            return True
        error = error.__cause__
    return False
