"""A model whose running statistics are those of a batch, as they are after some training.

Young statistics, zero and one, are no fault: they make a model another one in evaluation mode, and for a while.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lrtune.data.nest import tensors_of
from lrtune.population.forward import run_batch
from lrtune.probes.model.awakened import awaken
from lrtune.probes.model.hooks import hooked
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.probes.sample import Sample


def has_statistics(model: nn.Module) -> bool:
    """Say whether a model has batch normalisations, whose statistics are young or the batch's own in any mode."""
    return any(isinstance(one, _BatchNorm) for one in model.modules())


def settled(sample: Sample) -> nn.Module:
    """Return an awakened model of its own whose batch normalisations all have the first batch's statistics."""
    model = sample.build()
    awaken(model, sample.seed)
    with settling(model), seeded(sample.seed), torch.no_grad():
        run_batch(sample.program.task, model.train(), sample.batches[0])
    return model


@contextmanager
def settling(model: nn.Module) -> Iterator[dict[nn.Module, int]]:
    """Let training passes in a block set the running statistics to their mean, as biased as training itself.

    Normalisations divide by the biased variance in training and keep the unbiased one, which would be n/(n-1) off.

    Yields:
        How often each normalisation has been called.
    """
    layers = [one for one in model.modules() if isinstance(one, _BatchNorm)]
    calls: dict[nn.Module, int] = {}
    shares: dict[nn.Module, float] = {}

    def count(_: str, module: nn.Module, positional: Any, named: Any) -> None:
        calls[module] = calls.get(module, 0) + 1
        given = next(tensors_of([positional, named]))
        shares[module] = 1 - given.shape[1] / max(given.numel(), 1)

    try:
        with hooked(model, pre=count, only=lambda _, module: isinstance(module, _BatchNorm)):
            for layer in layers:
                _start(layer)
            yield calls
    finally:
        for layer in layers:
            if layer.running_var is not None and layer in shares:
                layer.running_var.mul_(shares[layer])


def _start(layer: _BatchNorm) -> None:
    if layer.running_mean is None:
        like = next(layer.parameters(), torch.empty(0))
        layer.track_running_stats = True
        layer.register_buffer("running_mean", torch.zeros(layer.num_features).to(like))
        layer.register_buffer("running_var", torch.ones(layer.num_features).to(like))
        layer.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long, device=like.device))
    layer.momentum = None  # a plain average of what is seen
    layer.reset_running_stats()
