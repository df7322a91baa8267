"""Layers whose units all begin with the same weights, and whether a few steps of training tell them apart.

Units with equal weights into and out of them get equal gradients, and stay equal for ever (Goodfellow, Bengio and
Courville, "Deep Learning", 2016, section 8.4). Weights that are all zero may be meant so: where the layers around
them differ, the first gradients tell their rows apart.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrtune.population.forward import run_batch
from lrtune.probes.model.awakened import awaken
from lrtune.probes.parameters.backward import backpropagate, dense
from lrtune.probes.parameters.unit_weights import (
    UnitWeight,
    last_layer_run,
    layer_weights,
    multiplied,
    own_weights,
    recorded_layers,
    tables,
)
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_STEPS = 4  # zeros behind zeros (a gate, a projection, a head) open one a step
_STEP_SIZE = 0.03  # of a step, relative to the parameter's size: visible, and far from divergence
_LEAST_SIZE = 0.01  # taken as the size of parameters that are zero


@dataclass(frozen=True)
class EqualUnits:
    """A layer whose units began with equal weights.

    Attributes:
        name: Of the weight.
        units: How many.
        weight: The largest of the weights in size; 0.0 where all are zero.
        of_layer: Whether it is a layer of torch and not a matrix of the user's own.
        output: Whether its units are the model's outputs, which the target tells apart.
        difference: After a few steps, the largest difference of a unit from the units' mean, relative to the largest
            change of a weight; 0.0 where nothing changed and filling the model's zeros would let it, None where
            nothing is known.
    """

    name: str
    units: int
    weight: float
    of_layer: bool
    output: bool = False
    difference: float | None = None


@dataclass(frozen=True)
class Symmetry:
    """All such layers.

    Attributes:
        equal: None of them where every weight tells its units apart from the beginning.
        steps: Of training that were taken.
    """

    equal: list[EqualUnits] = field(default_factory=list)
    steps: int = 0


def symmetry(sample: Sample) -> Symmetry:
    """Look for equal units, and where there are any train a model of their own for a few steps."""
    parameters = dict(sample.model.named_parameters())
    embedded = list(tables(sample.model))
    weights = [
        (one, parameters[one.parameter].detach())
        for one in (*layer_weights(sample.model), *embedded, *own_weights(sample.model))
        if parameters[one.parameter].is_floating_point()
    ]
    equal = [(one, value) for one, value in weights if _all_equal(one.rows(value))]
    if not equal:
        return Symmetry()
    trial = _Trial(sample)
    trial.train()
    found = []
    for one, value in equal:
        if one.of_layer or one in embedded or one.parameter in trial.in_products:
            difference = trial.difference(one, value)
            units, weight = len(one.rows(value)), float(value.abs().max())
            output = one.parameter == trial.last_layer
            found.append(EqualUnits(one.name, units, weight, one.of_layer, output, difference))
    return Symmetry(found, _STEPS)


def _all_equal(rows: torch.Tensor) -> bool:
    return min(rows.shape) >= 2 and bool((rows == rows[:1]).all())


class _Trial:
    """A model trained for a few steps, each parameter by the same share of its size."""

    def __init__(self, sample: Sample) -> None:
        self._sample = sample
        self._model = sample.build()
        self._reached: set[str] = set()
        self._awake: dict[str, torch.Tensor] | None = None
        self.in_products: set[str] = set()
        self.last_layer: str | None = None

    def train(self) -> None:
        for step in range(_STEPS):
            self._backpropagate(self._model, self._sample.batches[step % len(self._sample.batches)])
            with torch.no_grad():
                for name, parameter in self._model.named_parameters():
                    if parameter.grad is not None:
                        self._reached.add(name)
                        _descend(parameter, parameter.grad)
                        parameter.grad = None

    def _backpropagate(self, model: nn.Module, batch: object) -> None:
        calls: list[nn.Module] = []
        model.train()
        with seeded(self._sample.seed):
            with recorded_layers(model, calls):
                loss = run_batch(self._sample.program.task, model, batch).scalar
            own = {id(parameter): name for name, parameter in model.named_parameters()}
            self.in_products |= {own[key] for key in multiplied(loss) if key in own}
            self.last_layer = last_layer_run(model, calls)
            backpropagate(loss, model.parameters())

    def difference(self, weight: UnitWeight, first: torch.Tensor) -> float | None:
        """Return how far the units have come apart, None where the loss does not know them."""
        if weight.parameter not in self._reached:
            return None
        now = dict(self._model.named_parameters())[weight.parameter].detach()
        rows, change = weight.rows(now), float((weight.rows(now) - weight.rows(first)).abs().max())
        if change > 0:
            return float((rows - rows.mean(0)).abs().max()) / change
        return 0.0 if self._would_move(weight) else None

    def _would_move(self, weight: UnitWeight) -> bool:
        """Say whether a gradient arrives where zeros are filled: then it is zeros that keep it away."""
        if self._awake is None:
            model = self._sample.build()
            awaken(model, self._sample.seed)
            self._backpropagate(model, self._sample.batches[0])
            pairs = ((name, one.grad) for name, one in model.named_parameters())
            self._awake = {name: gradient for name, gradient in pairs if gradient is not None}
        gradient = self._awake.get(weight.parameter)
        return gradient is not None and bool(weight.rows(dense(gradient)).any())


def _descend(parameter: torch.Tensor, gradient: torch.Tensor) -> None:
    gradient = dense(gradient)
    largest = gradient.abs().max() if gradient.numel() else gradient.new_zeros(())
    if not (largest > 0 and torch.isfinite(largest)):
        return
    direction = gradient / largest  # first, so that squares of tiny gradients do not vanish
    size = parameter.abs().square().mean().sqrt().clamp(min=_LEAST_SIZE)
    parameter -= _STEP_SIZE * size * direction / direction.abs().square().mean().sqrt()
