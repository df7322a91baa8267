"""Batches are nests: tensors inside tuples, lists, dicts and named tuples, to any depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch


def map_nest(function: Callable[[torch.Tensor], Any], nest: Any) -> Any:
    """Return the nest with `function` applied to each tensor and everything else as it is.

    >>> map_nest(lambda tensor: tensor + 1, {"x": torch.zeros(2), "id": "a"})
    {'x': tensor([1., 1.]), 'id': 'a'}
    """
    if isinstance(nest, torch.Tensor):
        return function(nest)
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*(map_nest(function, item) for item in nest))
    if isinstance(nest, list | tuple):
        return type(nest)(map_nest(function, item) for item in nest)
    if isinstance(nest, dict):
        return {key: map_nest(function, item) for key, item in nest.items()}
    return nest


def tensors_of(nest: Any) -> Iterator[torch.Tensor]:
    """Yield every tensor of a nest, in a fixed order."""
    if isinstance(nest, torch.Tensor):
        yield nest
    elif isinstance(nest, Mapping):
        for item in nest.values():
            yield from tensors_of(item)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from tensors_of(item)


def leaves_of(nest: Any) -> Iterator[Any]:
    """Yield every leaf of a nest, tensor or not."""
    if isinstance(nest, Mapping):
        for item in nest.values():
            yield from leaves_of(item)
    elif isinstance(nest, list | tuple):
        for item in nest:
            yield from leaves_of(item)
    else:
        yield nest


def to_device(nest: Any, device: torch.device) -> Any:
    """Return the batch on `device`; an object with its own `.to` (a graph batch, say) moves itself."""
    if not isinstance(nest, torch.Tensor | list | tuple | dict) and callable(getattr(nest, "to", None)):
        return nest.to(device)
    return map_nest(lambda tensor: tensor.to(device, non_blocking=True), nest)


def example_count(batch: Any) -> int:
    """Return the number of examples in a batch: the length of its first tensor that has one.

    An object that is no nest of tensors says it by `num_graphs`, `batch_size` or `len()`, else counts as one.
    """
    for tensor in tensors_of(batch):
        if tensor.ndim:
            return int(tensor.shape[0])
    for attribute in ("num_graphs", "batch_size"):
        if isinstance(count := getattr(batch, attribute, None), int):
            return count
    return len(batch) if hasattr(batch, "__len__") else 1


def byte_count(nest: Any) -> int:
    """Return how many bytes the tensors of a nest take."""
    return sum(tensor.element_size() * tensor.nelement() for tensor in tensors_of(nest))


def equal_nests(one: Any, other: Any) -> bool:
    """Say whether two nests hold the same values; NaN equals NaN."""
    pairs = list(zip(leaves_of(one), leaves_of(other), strict=False))
    same_shape = len(pairs) == len(list(leaves_of(one))) == len(list(leaves_of(other)))
    return same_shape and all(_equal_leaves(a, b) for a, b in pairs)


def _equal_leaves(one: Any, other: Any) -> bool:
    if not (isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor)):
        return bool(type(one) is type(other) and one == other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return torch.equal(one, other) or torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
