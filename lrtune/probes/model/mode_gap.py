"""What evaluation mode computes in another way than training mode, dropout and young running statistics apart.

Running statistics are set to the batch's own and dropout is switched off; then both modes must give the same numbers.
Where other noise is left in training mode, means over several passes are compared.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lrtune.population.forward import Outcome, run_batch
from lrtune.probes.model.awakened import awaken
from lrtune.probes.model.model_calls import Call, listening, outputs_of, plain_attention, root_mean_square
from lrtune.probes.model.quiet import DropoutCalls, dropout_layers, without_dropout
from lrtune.probes.model.settled import settling
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_FEWEST = 4  # examples, where outputs are large: their spread is the unit
_PASSES = 8  # with other noise: their mean is as good as a third of one pass's spread
_SETTLING = (
    8  # passes before buffers of the user's own are extrapolated: power iterations converge in as many
)
_GEOMETRIC = (
    1e-2  # relative: how exactly a step must be a multiple of the one before; float32 keeps four digits
)
_NOISE = 1e-3  # of the outputs' spread: what two noisy passes differ by, rounding apart


@dataclass(frozen=True)
class ModeGap:
    """What the modes differ in.

    Attributes:
        outputs: Root mean square of the outputs' difference in units of their spread over the examples; None where
            training is noisy or nothing can be compared.
        losses: Loss in training mode (mean over noisy passes) and in evaluation mode.
        error: Standard error of the first, 0 without noise.
        signal: With noise: the share of evaluation mode's output that training mode's mean output has.
        energy: With noise: the spread of training mode's outputs in units of evaluation mode's.
        shapes: Of the outputs in both modes where they differ.
        strong: Dropouts of training mode by their place, with their probability.
        momenta: Momentum of normalisations in training that have parameters to train.
    """

    outputs: float | None
    losses: tuple[float, float]
    error: float = 0.0
    signal: float | None = None
    energy: float | None = None
    shapes: tuple[list[int], list[int]] | None = None
    strong: dict[str, float] = field(default_factory=dict)
    momenta: dict[str, float] = field(default_factory=dict)


def mode_gap(sample: Sample) -> ModeGap | None:
    """Measure the gap on a model of its own and the first batch."""
    model = sample.build()
    awaken(model, sample.seed)
    model.train()
    momenta = _momenta(model)
    strong = {
        name: share for name, share in dropout_layers(model).items() if model.get_submodule(name).training
    }
    without_dropout(model)
    runs: list[Call] = []
    with settling(model) as calls, listening(model, runs):
        _, _, dropped = _pass(sample, model, True, sample.seed)
    _settle_others(sample, model)
    # Views of an example go through the whole model one by one, and one statistic stands for all of them. Within one
    # run of the model it would stand for several places, which evaluation mode then normalises wrongly for good.
    repeated = any(count > 1 for count in calls.values()) and len(runs) != 1
    return replace(_compared(sample, model, repeated), strong={**dropped, **strong}, momenta=momenta)


def _compared(sample: Sample, model: nn.Module, repeated: bool) -> ModeGap:
    (one, given, _), (_, again, _) = (
        _pass(sample, model, True, sample.seed + extra, keep=True) for extra in (0, 1)
    )
    evaluated, told, _ = _pass(sample, model, False, sample.seed, keep=True)
    losses = float(one.scalar.detach()), float(evaluated.scalar.detach())
    if shapes := _shapes(one.output, evaluated.output):
        return ModeGap(None, losses, shapes=shapes)
    if (
        repeated
        or not told
        or any(list(map(_shape, other)) != list(map(_shape, told)) for other in (given, again))
    ):
        return ModeGap(None, losses)
    spread = _spread(told[0])
    if not spread or root_mean_square(given[0] - again[0]) <= _NOISE * spread:
        return ModeGap(_relative(given, told), losses)
    return _noisy(sample, model, told[0], losses[1])


def _shape(tensor: torch.Tensor) -> torch.Size:
    return tensor.shape


def _pass(
    sample: Sample, model: nn.Module, training: bool, seed: int, keep: bool = False
) -> tuple[Outcome, list[torch.Tensor], dict[str, float]]:
    """Run the first batch without dropout; return outcome, outputs and the dropouts that were switched off.

    Args:
        sample: The sample.
        model: Of its own; its buffers move unless they are kept.
        training: The mode.
        seed: Of what is random.
        keep: Whether buffers are put back.
    """
    calls: list[Call] = []
    quiet = DropoutCalls(model, off=True)
    with torch.no_grad(), quiet, listening(model, calls), plain_attention():
        if keep:
            outcome = sample.run(model, sample.few(_FEWEST), training=training, seed=seed)
        else:
            with seeded(seed):
                outcome = run_batch(sample.program.task, model.train(training), sample.few(_FEWEST))
    return outcome, outputs_of(outcome, calls, sample.few(_FEWEST)), quiet.seen


def _momenta(model: nn.Module) -> dict[str, float]:
    return {
        name: float(one.momentum)
        for name, one in model.named_modules()
        if isinstance(one, _BatchNorm)
        and one.training
        and one.running_mean is not None
        and one.momentum is not None
        and any(parameter.requires_grad for parameter in one.parameters())
    }


def _settle_others(sample: Sample, model: nn.Module) -> None:
    """Let buffers that the user's own layers move come to rest, as averages with a momentum do in many steps."""
    before = {
        name: buffer.clone()
        for name, buffer in model.named_buffers()
        if buffer.is_floating_point() and not _is_known(model, name)
    }
    if not before:
        return
    history: deque[dict[str, torch.Tensor]] = deque([before], maxlen=3)
    for _ in range(_SETTLING):
        _pass(sample, model, True, sample.seed)
        # Most buffers are constants: only those that move are kept, and no more than the extrapolation needs.
        moved = [name for name, old in history[-1].items() if not torch.equal(model.get_buffer(name), old)]
        if not moved:
            return
        if len(history) == 1:
            history[0] = {name: history[0][name] for name in moved}
        history.append({name: model.get_buffer(name).detach().clone() for name in history[0]})
    for name in history[0]:
        model.get_buffer(name).copy_(_limit(*(step[name] for step in history)))


def _is_known(model: nn.Module, name: str) -> bool:
    return isinstance(model.get_submodule(name.rpartition(".")[0]), _BatchNorm)


def _limit(first: torch.Tensor, second: torch.Tensor, third: torch.Tensor) -> torch.Tensor:
    """Return where an average with a momentum ends (Aitken's extrapolation, one ratio for the whole tensor).

    Anything else that moves, a power iteration say, has no such ratio and stays where it came to.
    """
    one, two = (second - first).flatten().cpu().double(), (third - second).flatten().cpu().double()
    size = float(one @ one)
    ratio = float(one @ two) / size if size else 0.0
    if not 0 < ratio < 1 or float((two - ratio * one).norm()) > _GEOMETRIC * float(two.norm()):
        return third
    return (third.cpu().double() + two.reshape(third.shape) * ratio / (1 - ratio)).to(third)


def _noisy(sample: Sample, model: nn.Module, told: torch.Tensor, loss: float) -> ModeGap:
    losses, mean, energies = [], torch.zeros_like(told), []
    for draw in range(_PASSES):
        outcome, given, _ = _pass(sample, model, True, sample.seed + draw, keep=True)
        losses.append(float(outcome.scalar.detach()))
        mean += given[0] / _PASSES
        energies.append(_spread(given[0]) / _spread(told))
    average = math.fsum(losses) / _PASSES
    error = math.sqrt(math.fsum((one - average) ** 2 for one in losses) / (_PASSES - 1) / _PASSES)
    signal = None if _reconstructs(sample) else _share(mean, told)
    return ModeGap(None, (average, loss), error, signal, math.fsum(energies) / _PASSES)


def _reconstructs(sample: Sample) -> bool:
    """Say whether the output may be meant to be the input, whose corruption is then the task's own; steps may be."""
    if sample.program.task.loss is None:
        return True
    given, target = sample.few(_FEWEST)
    return (
        isinstance(given, torch.Tensor) and isinstance(target, torch.Tensor) and given.shape == target.shape
    )


def _share(mean: torch.Tensor, told: torch.Tensor) -> float:
    one, other = _centred(mean), _centred(told)
    return float((one * other).sum() / (other * other).sum())


def _centred(output: torch.Tensor) -> torch.Tensor:
    return output.float() - output.float().mean(0)


def _spread(output: torch.Tensor) -> float:
    return root_mean_square(_centred(output))


def _relative(given: list[torch.Tensor], told: list[torch.Tensor]) -> float | None:
    gaps = []
    for a, b in zip(given, told, strict=True):
        if not (a.isfinite().all() and b.isfinite().all()):
            return None
        # Of whichever mode spreads more: one that is squashed in one mode has little spread there.
        spread = max(_spread(a), _spread(b))
        gaps.append(root_mean_square(a - b) / spread if spread else 0.0)
    return max(gaps)


def _shapes(one: Any, other: Any) -> tuple[list[int], list[int]] | None:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)) or one.shape == other.shape:
        return None
    return list(one.shape), list(other.shape)
