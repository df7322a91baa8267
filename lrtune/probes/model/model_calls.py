"""What the model itself is given and gives back while a task's program runs, and batches made of chosen examples."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, map_nest, tensors_of
from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from lrtune.population.forward import Outcome
    from lrtune.probes.sample import Sample

_CALLS = 4  # of the model in one step that are kept: siamese nets call it two or three times


@dataclass
class Call:
    """One call of the whole model.

    Attributes:
        inputs: The tensors that it was given, as they were before the call.
        output: The first tensor of real numbers with a row for each example, None where there is none.
    """

    inputs: list[torch.Tensor]
    output: torch.Tensor | None = None


def recorded(
    sample: Sample, model: torch.nn.Module, batch: Any, training: bool = False
) -> tuple[Outcome, list[Call]]:
    """Run a batch in one of the modes and return what the program gives, and the calls of the model on the way.

    The first of the two matters for a pair, whose model is called once; a step may work on the model's outputs in any
    way, and mix examples on purpose.
    """
    calls: list[Call] = []
    with listening(model, calls), plain_attention():
        outcome = sample.run(model, batch, training=training)
    return outcome, calls


@contextmanager
def listening(model: torch.nn.Module, calls: list[Call]) -> Iterator[None]:
    """Note the model's calls in a list for the length of a block."""
    running: list[Call | None] = []

    def before(name: str, module: torch.nn.Module, positional: Any, named: Any) -> None:
        call = None
        if len(calls) < _CALLS:
            call = Call([tensor.detach().clone() for tensor in tensors_of([*positional, named])])
            calls.append(call)
        running.append(call)

    def after(name: str, module: torch.nn.Module, positional: Any, named: Any, output: Any) -> None:
        call = running.pop()
        if call is not None and call.inputs and call.inputs[0].ndim:
            call.output = with_rows(output, len(call.inputs[0]))

    with hooked(model, pre=before, post=after, only=lambda name, module: module is model):
        yield


@contextmanager
def plain_attention() -> Iterator[None]:
    """Let attention in evaluation mode compute what it computes in training mode.

    Torch's fast path cuts padding to the longest example, so that a mean over time depends on the whole batch.
    """
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def with_rows(nest: Any, count: int) -> torch.Tensor | None:
    """Return a nest's first tensor of real numbers whose first dimension is a multiple of `count`."""
    for tensor in tensors_of(nest):
        if tensor.is_floating_point() and tensor.ndim and len(tensor) and len(tensor) % max(count, 1) == 0:
            return tensor.detach()
    return None


def outputs_of(outcome: Outcome, calls: Sequence[Call], batch: Any) -> list[torch.Tensor]:
    """Return what the model says: its outputs, else what the step calls its output; empty where nothing is known."""
    told = [call.output for call in calls if call.output is not None]
    if told:
        return told
    own = with_rows(outcome.output, example_count(batch))
    return [] if own is None else [own]


def one_row_each(batch: Any) -> bool:
    """Say whether every tensor of a batch has one row per example: then examples can be exchanged, and doubled."""
    count = example_count(batch)
    tensors = [tensor for tensor in tensors_of(batch) if tensor.ndim]
    return bool(tensors) and all(_is_plain(tensor) and len(tensor) == count for tensor in tensors)


def chosen(batch: Any, rows: Sequence[int], dimension: int = 0) -> Any:
    """Return the batch whose examples are those of the given numbers, in every tensor alike."""

    def pick(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.ndim <= dimension:
            return tensor
        return tensor.index_select(dimension, torch.tensor(rows, device=tensor.device))

    return map_nest(pick, batch)


def farthest(batch: Any, row: int, dimension: int = 0) -> int:
    """Return the example that differs from a given one in the most numbers."""
    differing: torch.Tensor | None = None
    for tensor in tensors_of(batch):
        if tensor.ndim > dimension:
            rows = tensor.movedim(dimension, 0).flatten(1) if tensor.ndim > 1 else tensor[:, None]
            share = (rows != rows[row]).float().mean(1).cpu()
            differing = share if differing is None else differing + share
    return row if differing is None else int(differing.argmax())


def root_mean_square(tensor: torch.Tensor) -> float:
    """Return √(mean of squares), 0 for an empty tensor."""
    return float(tensor.float().square().mean().sqrt()) if tensor.numel() else 0.0


def _is_plain(tensor: torch.Tensor) -> bool:
    return tensor.layout == torch.strided and not tensor.is_nested
