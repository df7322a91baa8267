"""What a program feeds its model, and what the first layer with weights receives of it.

A pass through the untrained model is watched by hooks and ended as soon as that layer is reached: what lies behind
it is not computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import example_count, tensors_of
from lrtune.probes.data.batch_parts import inputs_of, is_target
from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.probes.sample import Sample

_NORMALISATIONS = (
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
)  # their weights may have several dimensions, and their output is normalised


@dataclass
class Entrance:
    """What one batch brings to the model.

    Attributes:
        arguments: Tensors that the model was called with, None where the step calls only parts of it.
        layer: Dotted name of the first layer with weights, "" for the model itself; None where none was reached.
        kind: The layer's class.
        received: The first floating-point tensor that it was given.
        features: The dimension of `received` that runs over features.
        embedded: Whether a layer with weights was given integers before, such as tokens.
        vocabulary: Rows of the first embedding that was given integers, 0 without one.
    """

    arguments: list[torch.Tensor] | None = None
    layer: str | None = None
    kind: str = ""
    received: torch.Tensor | None = None
    features: int = -1
    embedded: bool = False
    vocabulary: int = 0
    _entered: dict[nn.Module, torch.Tensor] = field(default_factory=dict)


class _Reached(BaseException):
    """Ends the pass; no Exception, so that the user's own handlers let it through."""


def entrance(sample: Sample, batch: Any) -> Entrance:
    """Send a batch as far as the first layer with weights; model, buffers and random state stay as they are."""
    seen = Entrance()
    with _hooked(sample.model, seen):
        try:
            sample.run(sample.model, batch, training=True)
        except _Reached:
            pass
        finally:
            seen._entered.clear()
    return seen


def fed(seen: Entrance, batch: Any, target: Any) -> list[torch.Tensor]:
    """Return what of a batch goes into the model: tensors of one row per example, without the target.

    Args:
        seen: Of this batch.
        batch: As the data give it.
        target: What a step said that it compared with, or the pair's second half; None where unknown.
    """
    known = target if isinstance(target, torch.Tensor) else None
    if seen.arguments is None:
        return inputs_of(batch, known)
    pair = isinstance(batch, list | tuple) and len(batch) == 2
    count = example_count(batch)
    rows = [tensor for tensor in seen.arguments if tensor.ndim and tensor.shape[0] == count]
    return rows if pair else [one for one in rows if known is None or not is_target(one, known)]


def name_in(batch: Any, tensor: torch.Tensor) -> str:
    """Return the key under which a dict batch holds a tensor's values, or nothing."""
    if isinstance(batch, Mapping):
        for key, value in batch.items():
            if isinstance(value, torch.Tensor) and value.shape == tensor.shape and torch.equal(value, tensor):
                return str(key)
    return ""


@contextmanager
def _hooked(model: nn.Module, seen: Entrance) -> Iterator[None]:
    watched = dict(takewhile(lambda pair: not _is_scripted(pair[1]), model.named_modules()))

    def called(_: str, __: nn.Module, arguments: Any, named: dict[str, Any]) -> None:
        if seen.arguments is None:
            seen.arguments = [one.detach().clone() for one in tensors_of([arguments, named])]

    def entered(name: str, module: nn.Module, arguments: Any, named: dict[str, Any]) -> None:
        given = list(tensors_of([arguments, named]))
        real = next((one for one in given if one.is_floating_point() and one.ndim > 1), None)
        if real is not None:
            seen._entered[module] = real.detach()
        elif given and _is_leaf(module):
            seen.embedded = True
            seen.vocabulary = seen.vocabulary or int(getattr(module, "num_embeddings", 0))
        if real is not None and _is_leaf(module):
            reached(name, module)

    def reached(name: str, module: nn.Module, *_: Any) -> None:
        if (real := seen._entered.get(module)) is not None and seen.received is None:
            seen.layer, seen.kind, seen.received = name, type(module).__name__, real
            seen.features = _feature_dimension(module, real)
            raise _Reached

    def with_weights(name: str, module: nn.Module) -> bool:
        return name in watched and _has_weights(module)

    # A module with weights of its own and layers within uses its weights itself if none of its layers is reached:
    # attention and functional models do, a vision transformer's positions come after its first layer.
    with (
        hooked(model, pre=called, only=lambda name, _: not name),
        hooked(model, pre=entered, post=reached, only=with_weights),
    ):
        yield


def _is_scripted(module: nn.Module) -> bool:
    """Say whether a module has weights that nobody sees used: layers behind it may not be the first."""
    return isinstance(module, torch.jit.ScriptModule) and next(module.parameters(), None) is not None


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _has_weights(module: nn.Module) -> bool:
    if isinstance(module, _NORMALISATIONS):
        return False
    return hasattr(module, "parametrizations") or any(
        one.ndim > 1 for one in module.parameters(recurse=False)
    )


def _feature_dimension(module: nn.Module, real: torch.Tensor) -> int:
    convolution = isinstance(module, nn.modules.conv._ConvNd)
    return 1 if real.ndim > 2 and (convolution or real.ndim > 3) else -1
