"""Frozen weights that nobody has trained: two models of different seeds show which were drawn at random.

Weights that were loaded are the same in both. Random ones may be meant, as one projection is in random features
(Rahimi and Recht, 2007) and in a reservoir (Jaeger, 2001), and as a whole network is where it only sets a target
(Burda et al., "Exploration by random network distillation", 2019): several layers that later ones are trained on are
not.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import tensors_of
from lrtune.probes.model.hooks import hooked
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_ROUNDING = 1e-6
_DEVIATIONS = 5.0  # that chance may make
_FEWEST = 2  # layers: one alone is a random projection, a table of positions or of words


@dataclass(frozen=True)
class FrozenWeights:
    """Frozen numbers of a model that were drawn at random, and that trained layers build on.

    Attributes:
        drawn: How many.
        total: Numbers in all parameters.
        layers: Names of the layers that hold matrices of them.
        of_layers: How many layers of the model have matrices.
    """

    drawn: int
    total: int
    layers: list[str]
    of_layers: int


def frozen_weights(sample: Sample) -> FrozenWeights | None:
    """Measure a fresh model beside one of another seed; None where no layers are frozen at random values."""
    model = sample.model
    if all(one.requires_grad for one in model.parameters()):
        return None
    with seeded(sample.seed + 1):
        other = sample.program.build_model()
    drawn = _drawn(model, other)
    layers = _layers(model, drawn)
    if sample.program.task.pretrained:  # what the task calls trained may have been trained under this seed
        layers = [name for name in layers if is_as_built(model.get_submodule(name))]
    if len(layers) < _FEWEST or not _is_built_on(sample, other, layers):
        return None
    total = sum(one.numel() for one in model.parameters())
    matrices = {name.rpartition(".")[0] for name, one in model.named_parameters() if one.ndim > 1}
    return FrozenWeights(sum(one.numel() for one in drawn.values()), total, layers, len(matrices))


def _drawn(model: nn.Module, other: nn.Module) -> dict[str, nn.Parameter]:
    """Return the frozen parameters that differ from seed to seed and are no copies of trained ones."""
    twins, trained = dict(other.named_parameters()), [one for one in model.parameters() if one.requires_grad]
    return {
        name: one
        for name, one in model.named_parameters()
        if not one.requires_grad
        and name in twins
        and twins[name].shape == one.shape
        and not torch.equal(twins[name], one)
        and not any(one.shape == copy.shape and torch.equal(one, copy) for copy in trained)
    }


def _layers(model: nn.Module, drawn: dict[str, nn.Parameter]) -> list[str]:
    """Return the names of the layers that have drawn matrices, tables of words and recurrent layers left out."""
    matrices = {name.rpartition(".")[0] for name, one in drawn.items() if one.ndim > 1}
    modules = dict(model.named_modules())
    passed = (nn.Embedding, nn.EmbeddingBag, nn.RNNBase, nn.RNNCellBase)
    return [name for name in modules if name in matrices and not isinstance(modules[name], passed)]


def is_as_built(layer: nn.Module) -> bool:
    """Say whether a layer's weight is spread evenly between the bounds that torch draws a new one within.

    These are ±1/sqrt(fan in) for linear layers and convolutions. The deviation of n such numbers is known to 0.45/√n
    (the fourth moment of an even spread), and steps of training push some of them beyond the bounds.
    """
    weight = getattr(layer, "weight", None)
    if not isinstance(layer, nn.Linear | nn.modules.conv._ConvNd) or not isinstance(weight, torch.Tensor):
        return False
    bound = (weight.shape[0] / weight.numel()) ** 0.5 if weight.numel() else 0.0
    spread = float(weight.detach().float().square().mean().sqrt()) * 3**0.5
    within = float(weight.detach().abs().max()) <= bound * (1 + _ROUNDING)
    return within and abs(spread / bound - 1) <= _DEVIATIONS * 0.45 / weight.numel() ** 0.5


def _is_built_on(sample: Sample, other: nn.Module, layers: list[str]) -> bool:
    """Say whether trained layers receive something else when the drawn layers hold other random numbers.

    A layer that feeds itself, step by step, is a reservoir: it runs more often than the others.
    """
    own = _received(sample, sample.model)
    with torch.no_grad():
        frozen = {name for name, one in sample.model.named_parameters() if not one.requires_grad}
        for (name, one), mine in zip(other.named_parameters(), sample.model.parameters(), strict=True):
            if name not in frozen:
                one.copy_(mine)
    changed = _received(sample, other)
    fewest = min((count for count in own.calls.values()), default=0)
    if any(own.calls[name] > fewest and _is_square(sample.model, name) for name in layers):
        return False
    return any(
        name in changed.first and not torch.equal(one, changed.first[name]) for name, one in own.first.items()
    )


def _is_square(model: nn.Module, name: str) -> bool:
    layer = model.get_submodule(name)
    return isinstance(layer, nn.Linear) and layer.in_features == layer.out_features


@dataclass(frozen=True)
class _Received:
    first: dict[str, torch.Tensor]  # what trained layers were given at first
    calls: Counter[str]  # of every layer


def _received(sample: Sample, model: nn.Module) -> _Received:
    seen = _Received({}, Counter())

    def entered(name: str, module: nn.Module, positional: Any, named: Any) -> None:
        seen.calls[name] += 1
        given = next((one for one in tensors_of([positional, named]) if one.is_floating_point()), None)
        if given is not None and any(one.requires_grad for one in module.parameters(recurse=False)):
            seen.first.setdefault(name, given.detach().clone())

    with hooked(model, pre=entered):
        sample.run(model, sample.batches[0], training=False)
    return seen
