"""Random numbers replaced by constants, so that two programs that draw differently can be compared."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode

_aten = torch.ops.aten
_HALVES = (torch.float16, torch.bfloat16)


class Undrawn(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gives every draw of torch one value: dropout keeps all, uniform numbers are 1/2, so are normal ones.

    It works where the kernels are called, and so alike in ordinary code, over rows and when a tape is played.

    Attributes:
        drawn: Whether anything was drawn.
        halved: Whether anything was computed in half precision, as under autocast.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.drawn = False
        self.halved = False

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled; otherwise torch would load its compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.Tag.nondeterministic_seeded not in func.tags:
            out = func(*args, **kwargs)
            self.halved = self.halved or getattr(out, "dtype", None) in _HALVES
            return out
        names = [argument.name for argument in func._schema.arguments]
        given = dict(zip(names, args, strict=False)) | kwargs
        if "dropout_p" in names:  # attention, which draws inside its kernel
            self.drawn = self.drawn or given.get("dropout_p", 0.0) > 0
            return func(**given | {"dropout_p": 0.0})
        self.drawn = True
        if func is _aten.native_dropout.default:
            return args[0].clone(), torch.ones_like(args[0], dtype=torch.bool)
        return _constant(func, func(*args, **kwargs), given)


def _constant(func: Any, out: Any, given: dict[str, Any]) -> Any:
    """Return what an operation drew, overwritten by one value that it could have drawn."""
    if not isinstance(out, torch.Tensor):
        return out
    name = func.overloadpacket.__name__
    if name == "randperm":
        return out.copy_(torch.arange(len(out), device=out.device))
    if name.startswith("bernoulli"):
        return out.fill_(1)
    if out.is_floating_point() or out.is_complex():
        return out.fill_(0.5)
    low = given.get("low", given.get("from", 0))
    return out.fill_(low or 0)


def shared_generators() -> tuple[Any, ...]:
    """Return the states of Python's and NumPy's generators, which know nothing of rows."""
    numpy = np.random.get_state()
    return random.getstate(), *(part.tobytes() if isinstance(part, np.ndarray) else part for part in numpy)
