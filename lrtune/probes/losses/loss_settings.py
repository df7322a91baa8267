"""How a loss of torch's is set: keywords of a `functools.partial`, attributes of a module."""

from __future__ import annotations

import functools
from typing import Any

_WEIGHTS = ("weight", "pos_weight")  # what torch's losses call the weights of classes


def setting(loss: Any, name: str, default: Any) -> Any:
    """Return what a loss was given under a name.

    >>> setting(functools.partial(functools.partial(max, delta=2.0)), "delta", 1.0)
    2.0

    Args:
        loss: A function, a module, or a partial of one.
        name: As torch spells it.
        default: Where nothing was given, or None.
    """
    while isinstance(loss, functools.partial):
        if name in loss.keywords:
            found = loss.keywords[name]
            return default if found is None else found
        loss = loss.func
    found = getattr(loss, name, None)
    return default if found is None else found


def weighs_classes(loss: Any) -> bool:
    """Say whether a loss of torch's was given weights of its classes."""
    return any(setting(loss, name, None) is not None for name in _WEIGHTS)
