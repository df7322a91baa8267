"""What the first steps of the optimizer move: real steps on a model of their own.

A few numbers of each parameter are watched, those of the largest gradients: what moves at all moves there. Where one
stands still, rounding is ruled out (steps at a rate that no rounding swallows) and so is patience (further calls of
`step` on the same gradients, for optimizers that collect several before they move, or warm up on their own).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from lrtune.errors import UserCodeError
from lrtune.probes.parameters.optimizer_trial import Trial

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_RATE = 1e-3  # the default of Adam and its kin (Kingma and Ba, 2015), at which anything in use moves


@dataclass(frozen=True)
class OptimizerSteps:
    """What the optimizer holds and moves.

    Attributes:
        optimizer: The class's name.
        trainable: How many parameters require a gradient.
        held: How many of these the optimizer holds.
        foreign: How many tensors it holds that are not the model's.
        left_out: Names of parameters with a gradient that the optimizer does not hold and did not move.
        still: Names of parameters that it holds, that have a gradient and did not move.
        replaced: Names of those among `still` that the forward pass replaced by another tensor, or set back.
        groups: Index of every group all of whose reached parameters stand still, with its rate.
        moving: How many parameters moved.
    """

    optimizer: str
    trainable: int
    held: int
    foreign: int
    left_out: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    groups: list[tuple[int, float]] = field(default_factory=list)
    moving: int = 0


def optimizer_steps(sample: Sample) -> OptimizerSteps | None:
    """Take a few steps on one batch; None where nothing has a gradient, or nothing can go wrong.

    A class of torch's own on all parameters moves them, unless the model itself interferes: a forward pass that puts
    others in their place, hooks on their gradients.
    """
    if sample.program.plain and not _model_interferes(sample):
        return None
    trial = Trial(sample, _RATE)
    trial.run()
    if not trial.watched:
        return None
    suspects = trial.suspects()
    if suspects and (rate := trial.surer_rate(suspects)) > _RATE:
        trial.free()
        again = Trial(sample, rate)
        with suppress(UserCodeError):  # at such a rate a program may well refuse its own numbers
            again.run()
        suspects = [name for name in suspects if name not in again.moved]
    return _told(trial, suspects)


def _model_interferes(sample: Sample) -> bool:
    model = sample.build()
    if any(one._backward_hooks or one._post_accumulate_grad_hooks for one in model.parameters()):
        return True
    before = _identities(model)
    sample.run(model, sample.batches[0], training=True, graph=True)  # reentrant checkpoints warn without one
    return _identities(model) != before


def _identities(model: torch.nn.Module) -> dict[str, tuple[int, int, float]]:
    """Return what a parameter put elsewhere, or written into, has another one of."""
    with torch.no_grad():
        named = model.named_parameters()
        return {name: (id(one), one.data_ptr(), float(one.abs().sum())) for name, one in named}


def _told(trial: Trial, suspects: list[str]) -> OptimizerSteps:
    """Return what was seen, given what did not move at any rate."""
    held = trial.held
    assert held is not None
    still = [name for name in suspects if name in held.names]
    groups = enumerate(held.groups)
    return OptimizerSteps(
        optimizer=held.optimizer,
        trainable=held.trainable,
        held=len(held.names),
        foreign=held.foreign,
        left_out=[name for name in (*suspects, *trial.behind_zeros) if name not in held.names],
        still=still,
        replaced=[name for name in still if name in held.replaced],
        groups=[(index, rate) for index, (rate, names) in groups if names and names <= set(still)],
        moving=len(trial.watched) - len(suspects),
    )
