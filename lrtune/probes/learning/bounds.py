"""Whether a model's outputs are bounded, whatever its parameters: by a tanh, a sigmoid, a clamp, a normalisation.

Every trainable number of a trained model is multiplied by 10 and by 100. Free outputs grow with them, by a learned
temperature, gain or last layer; bounded ones stay in the range [a, b] that bounds them. A cosine does not move at all,
so that its range is known only as far as training has come: it is taken to be as wide on the other side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.nest import byte_count
from lrtune.errors import LrtuneError
from lrtune.population.forward import run_batch
from lrtune.population.modes import in_mode
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.program import Program
    from lrtune.population.protocol import State

# What the parameters are multiplied by; the second pair where a deep net without normalisation overflows at the first.
_FACTORS = ((10.0, 100.0), (2.0, 4.0))
_LARGE = 64 * 2**20  # bytes of outputs: more of a language model's logits say no more
_SAME = 0.05  # of the range: outputs that grow do so by the factor, tenfold, or the root of it
_PILED = 0.05  # of the outputs that are at a bound with nothing on the other side: a ReLU's exact zeros
_NEAR = 0.01  # of the range: how near to a bound an output is at it
_SATURATED = 0.5  # of the outputs at a bound when all is multiplied by 100: then the range cannot be wider
_BOUNDING = {
    "Tanh": "tanh", "Sigmoid": "sigmoid", "Softmax": "softmax", "Clamp": "clamp", "ClampMin": "clamp",
    "ClampMax": "clamp", "Hardtanh": "clamp", "Hardsigmoid": "hardsigmoid", "Relu": "ReLU",
    "Softplus": "softplus",
}  # fmt: skip
_SHAPES = ("View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Squeeze", "Unsqueeze", "Alias")


@dataclass(frozen=True)
class Bounds:
    """The range that a model's outputs cannot leave.

    Attributes:
        low: The lower bound, minus infinity without one.
        high: The upper bound, infinity without one.
        settled: Whether outputs pile up at the bounds; else the range is a guess from what training has reached.
        by: The last function before the output, where it is one that bounds.
    """

    low: float
    high: float
    settled: bool
    by: str | None = None


def trained_model(program: Program, state: State, seed: int) -> torch.nn.Module:
    """Return a throwaway model with the parameters and buffers of a member of a population."""
    with seeded(seed):
        model = program.build_model()
    model.load_state_dict(dict(state))
    return model


def output_bounds(program: Program, state: State, batches: Sequence[Any], seed: int) -> Bounds | None:
    """Return the bounds of the outputs for a sample, None where they are free or cannot be told.

    Args:
        program: The task on its device.
        state: Of a trained member.
        batches: The sample; where outputs are large its first batches are enough.
        seed: Of dropout's random stream.
    """
    try:
        plain, by = _outputs(program, state, batches, seed, 1.0)
        for near, far in _FACTORS if plain.numel() > 1 else ():
            scaled = [_outputs(program, state, batches, seed, factor)[0] for factor in (near, far)]
            if all(bool(one.isfinite().all()) for one in scaled):
                return _bounds(plain, scaled[0], scaled[1], by)
    except (LrtuneError, RuntimeError):  # the user's code may refuse parameters that far out
        return None
    return None


def _outputs(
    program: Program, state: State, batches: Sequence[Any], seed: int, factor: float
) -> tuple[torch.Tensor, str | None]:
    """Return all outputs, flat, of parameters times a factor, and what the last function was; none of other types."""
    model = trained_model(program, state, seed)
    found, size, by = [torch.empty(0)], 0, None
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad and parameter.is_floating_point():
                parameter.mul_(factor)
    for batch in batches:
        # In training mode, which makes what the loss is given: some models hand out probabilities in the other one.
        with seeded(seed), in_mode(model, training=True), torch.set_grad_enabled(factor == 1.0 and not size):
            output = run_batch(program.task, model, batch).output
        if not isinstance(output, torch.Tensor) or not output.is_floating_point():
            return torch.empty(0), None
        by = by or _bounding(output)
        found.append(output.detach().float().flatten().cpu())
        size += byte_count(found[-1])
        if size >= _LARGE:
            break
    return torch.cat(found), by


def _bounds(plain: torch.Tensor, near: torch.Tensor, far: torch.Tensor, by: str | None) -> Bounds | None:
    """Read the bounds off outputs of the trained parameters, of larger and of much larger ones."""
    low, high = (
        min(float(one.min()) for one in (plain, near, far)),
        max(float(one.max()) for one in (plain, near, far)),
    )
    if high <= low:
        return None  # a constant: nothing is said about others
    span = min(float(near.max() - near.min()), float(far.max() - far.min()))
    stays = [abs(float(pick(near) - pick(far))) <= _SAME * span for pick in (torch.min, torch.max)]
    if all(stays):
        margin = _NEAR * (high - low)
        at_bounds = ((far <= low + margin) | (far >= high - margin)).float().mean()
        if float(at_bounds) >= _SATURATED:
            return Bounds(low, high, True, by)
        most = max(abs(low), abs(high))
        return Bounds(-most, most, False, by)
    if stays[0] and _piled(far, low) and _piled(near, low):
        return Bounds(low, math.inf, True, by)
    if stays[1] and _piled(far, high) and _piled(near, high):
        return Bounds(-math.inf, high, True, by)
    return None


def _piled(values: torch.Tensor, bound: float) -> bool:
    return float((values == bound).float().mean()) >= _PILED


def _bounding(output: torch.Tensor) -> str | None:
    """Return the last function that made the output, changes of shape apart, where it bounds."""
    node: Any = output.grad_fn
    while node is not None:
        name = node.name().rstrip("0123456789").removesuffix("Backward")
        if name not in _SHAPES:
            return _BOUNDING.get(name)
        node = node.next_functions[0][0]
    return None
