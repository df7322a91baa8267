"""Whether a model in evaluation mode gives the same output for the same batch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import example_count, first_rows, map_nest, tensors_of
from lrtune.population.forward import run_batch
from lrtune.probes.model.awakened import awaken
from lrtune.probes.model.model_calls import Call, listening, plain_attention
from lrtune.probes.model.quiet import DropoutCalls
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 2  # examples, where outputs are large

Outputs = list[torch.Tensor]


@dataclass(frozen=True)
class Determinism:
    """How far two calls in evaluation mode are apart, relative to the root mean square of the output.

    Attributes:
        same_seed: With the random generators alike: what is left is state that the first call left behind.
        other_seed: With other random numbers; None where a step may have drawn them.
        resolution: Of the output's type: the distance from 1 to the next number.
        dropping: Modules in which a dropout is active in evaluation mode, with its probability.
    """

    same_seed: float
    other_seed: float | None
    resolution: float
    dropping: dict[str, float] = field(default_factory=dict)


def determinism(sample: Sample) -> Determinism | None:
    """Call a model of its own three times on one batch in evaluation mode, None without an output to compare.

    Between the first two calls it gets another batch, whose traces say more than those of the same one again.
    """
    model = sample.build()
    awaken(model, sample.seed)
    model.eval()
    first = _outputs(sample, model, sample.seed)
    if not first:
        return None
    if (other := _another(sample)) is not None:
        _outputs(sample, model, sample.seed, other)
    same, moved = (_apart(first, _outputs(sample, model, sample.seed + extra)) for extra in (0, 1))
    resolution = max(torch.finfo(tensor.dtype).eps for tensor in first)
    if moved == 0:
        return Determinism(same, moved, resolution)
    with DropoutCalls(model) as dropping:
        _outputs(sample, model, sample.seed)
    known = bool(dropping.seen) or (sample.program.task.step is None and _is_one_tensor(sample, model))
    return Determinism(same, moved if known else None, resolution, dropping.seen)


def _another(sample: Sample) -> Any:
    """Return as many examples of the second batch as are looked at of the first; None where it has fewer."""
    count = example_count(sample.few(_FEWEST))
    if len(sample.batches) < 2 or example_count(sample.batches[1]) < count:
        return None
    return (
        sample.batches[1]
        if count == example_count(sample.batches[0])
        else first_rows(sample.batches[1], count)
    )


def _outputs(sample: Sample, model: torch.nn.Module, seed: int, batch: Any = None) -> Outputs:
    """Return the model's outputs, else what the step returns; buffers may move, which is what is looked for."""
    calls: list[Call] = []
    with seeded(seed), torch.no_grad(), listening(model, calls), plain_attention():
        outcome = run_batch(sample.program.task, model, sample.few(_FEWEST) if batch is None else batch)
    told = _numbers(outcome.output) or [call.output.clone() for call in calls if call.output is not None]
    return told or _numbers(outcome.loss)


def _numbers(nest: Any) -> Outputs:
    return [tensor.detach().clone() for tensor in tensors_of(nest) if tensor.is_floating_point()]


def _is_one_tensor(sample: Sample, model: torch.nn.Module) -> bool:
    """Say whether the output is a tensor and no tuple: variational models return their samples' parameters, too."""
    outcome = sample.run(model, map_nest(torch.clone, sample.few(_FEWEST)), training=False)
    return isinstance(outcome.output, torch.Tensor)


def _apart(one: Outputs, other: Outputs) -> float:
    """Return the largest relative difference of two lists of tensors, infinite for other shapes."""
    if [tensor.shape for tensor in one] != [tensor.shape for tensor in other]:
        return float("inf")
    largest = 0.0
    for a, b in zip(one, other, strict=True):
        finite = a.isfinite() & b.isfinite()
        # Of as many numbers each, so that the ratio of lengths is that of root mean squares.
        size = float(torch.where(finite, a, 0).norm(dtype=torch.float32))
        change = float(torch.where(finite, a - b, 0).norm(dtype=torch.float32))
        largest = max(largest, change / size if size else float(change > 0))
    return largest
