"""Batches are nests: tensors inside tuples, lists, mappings and named tuples, to any depth."""

from __future__ import annotations

import copy
from collections import UserDict
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
    return _with_items(nest, lambda item: map_nest(function, item))


def _with_items(nest: Any, change: Callable[[Any], Any]) -> Any:
    """Return a container of the same type with each item changed, and anything else as it is."""
    if isinstance(nest, tuple) and hasattr(nest, "_fields"):
        return type(nest)(*map(change, nest))
    if isinstance(nest, list | tuple):
        return type(nest)(map(change, nest))
    # Another mapping with a `to` of its own is a class of batches, which its items alone do not make.
    if isinstance(nest, dict | UserDict) or (isinstance(nest, Mapping) and not _moves_itself(nest)):
        return _mapping_like(nest, {key: change(item) for key, item in nest.items()})
    return nest


def _mapping_like(nest: Any, items: dict[Any, Any]) -> Any:
    """Return a mapping of the type of `nest` with other items under the same keys, and its further attributes."""
    if type(nest) is dict:
        return items
    try:
        made = type(nest)(items)
        alike = made.keys() == items.keys()
    except Exception:  # its constructor takes something else
        alike = False
    if not alike:
        made = copy.copy(nest)
        for key, item in items.items():
            made[key] = item
        return made
    for name, value in getattr(nest, "__dict__", {}).items():
        made.__dict__.setdefault(name, value)
    return made


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
    """Return the nest on `device`; in any depth, an object with its own `.to` (a graph batch, say) moves itself."""
    if isinstance(nest, torch.Tensor):
        return nest.to(device, non_blocking=True)
    if _moves_itself(nest):
        return nest.to(device)
    return _with_items(nest, lambda item: to_device(item, device))


def _moves_itself(nest: Any) -> bool:
    # Asked of the type: a mapping that shows its keys as attributes may have one named "to".
    return callable(getattr(type(nest), "to", None))


def example_count(batch: Any) -> int:
    """Return the number of examples in a batch: the length of its first tensor that has rows.

    An object that is no nest of tensors says it by `num_graphs`, `batch_size` or `len()`, else counts as one.
    """
    for tensor in tensors_of(batch):
        if tensor.ndim and len(tensor):  # a graph may have no edges
            return int(tensor.shape[0])
    for attribute in ("num_graphs", "batch_size"):
        if isinstance(count := getattr(batch, attribute, None), int):
            return count
    return len(batch) if hasattr(batch, "__len__") else 1


def first_rows(batch: Any, count: int) -> Any:
    """Return a batch of its first examples: every tensor of one row per example is cut, all else stays.

    >>> first_rows((torch.zeros(3, 2), "a"), 1)
    (tensor([[0., 0.]]), 'a')
    """
    rows = example_count(batch)
    return map_nest(lambda one: one[:count] if one.ndim and one.shape[0] == rows else one, batch)


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
