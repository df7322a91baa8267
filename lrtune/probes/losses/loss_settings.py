"""How a loss of torch's is set: keywords of a `functools.partial`, attributes of a module."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

import torch

Kind = TypeVar("Kind", bool, int, float)


def setting(loss: Any, name: str, default: Kind) -> Kind:
    """Return the number that a loss was given under a name.

    A loss of the user's own may have an attribute of that name that means something else: what is not of the
    default's type is not torch's setting.

    >>> setting(functools.partial(functools.partial(max, delta=2.0)), "delta", 1.0)
    2.0
    >>> setting(functools.partial(max, ignore_index=(0, 255)), "ignore_index", -100)
    -100

    Args:
        loss: A function, a module, or a partial of one.
        name: As torch spells it.
        default: Where no such number was given.
    """
    found = _given(loss, name)
    if isinstance(found, torch.Tensor) and found.ndim == 0:
        found = found.item()
    if isinstance(found, bool) != isinstance(default, bool):
        return default
    accepted = int | float if isinstance(default, float) else type(default)
    return type(default)(found) if isinstance(found, accepted) else default


def weights(loss: Any, name: str) -> torch.Tensor | None:
    """Return the tensor of weights that a loss was given under a name, None without one."""
    found = _given(loss, name)
    return found.detach() if isinstance(found, torch.Tensor) else None


def weighs_classes(loss: Any) -> bool:
    """Say whether a loss was given weights of its classes, or of the answer yes; weights all equal are none."""
    classes, yes = weights(loss, "weight"), weights(loss, "pos_weight")
    differ = classes is not None and classes.ndim > 0 and bool((classes != classes.flatten()[:1]).any())
    return differ or (yes is not None and bool((yes != 1).any()))


def _given(loss: Any, name: str) -> Any:
    while isinstance(loss, functools.partial):
        if name in loss.keywords:
            return loss.keywords[name]
        loss = loss.func
    return getattr(loss, name, None)
