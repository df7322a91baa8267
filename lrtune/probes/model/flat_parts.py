"""Where activation functions are flat: the arguments at which almost no gradient comes through."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Callable

Kind = Literal["dead", "saturated"]

# Arguments beyond which the slope is below 2% of its maximum: where that is small a unit counts as saturated (Glorot
# and Bengio, 2010). A gate that a prior bias of up to 5 holds open or shut is not yet there.
_SIGMOID = 5.29  # 4 s (1 - s) = 0.02
_TANH = 2.65  # 1 - tanh² = 0.02
_SOFTSIGN = 6.07  # 1 / (1 + |x|)² = 0.02
_ELU = -3.92  # exp(x) = 0.02
# Smooth relatives of ReLU; their slopes stay below 2% in size from here on down.
_GELU = -2.85
_SILU = -5.6


class Flat(NamedTuple):
    """Which values of an activation's argument are on a flat part.

    Attributes:
        kind: `dead` for relatives of ReLU, which are off there; else `saturated`.
        where: Booleans of the argument's shape. An argument of exactly 0 is masked, or what a dead unit hands on: it is
            not counted.
        low: Those of them on the side of small arguments.
    """

    kind: Kind
    where: Tensor
    low: Tensor


def flat_part(operation: str, *args: Any, **kwargs: Any) -> Flat | None:
    """Return where the argument of one of torch's operations is on a flat part of it.

    Args:
        operation: Its name in ATen, without the underscore of the variant in place.
        *args: Its arguments, before it has run.
        **kwargs: Its further arguments.

    Returns:
        None where the operation has no flat part, such as a clamp at a bound other than zero.

    Example:
        >>> flat_part("relu", torch.tensor([-1.0, 2.0])).where
        tensor([ True, False])
    """
    part = _PARTS.get(operation)
    return None if part is None else part(*args, **kwargs)


def _below(bound: float) -> Callable[..., Flat]:
    return lambda values, *_, **__: _outside("dead", values, bound, None)


def _beyond(bound: float) -> Callable[..., Flat]:
    return lambda values, *_, **__: _outside("saturated", values, -bound, bound)


def _outside(kind: Kind, values: Tensor, low: float, high: float | None) -> Flat:
    below = values < low
    return Flat(kind, below if high is None else below | (values > high), below)


def _clamp(values: Tensor, low: Any = None, high: Any = None, **bounds: Any) -> Flat | None:
    low, high = bounds.get("min", low), bounds.get("max", high)
    if isinstance(low, Tensor) or isinstance(high, Tensor) or low != 0:
        return None
    return _outside("dead", values, low, high)


def _hardtanh(values: Tensor, low: float = -1.0, high: float = 1.0) -> Flat:
    return _outside("dead" if low == 0 else "saturated", values, low, high)


def _threshold(values: Tensor, bound: float, value: float) -> Flat | None:
    return _outside("dead", values, bound, None) if value == 0 else None


_PARTS: dict[str, Callable[..., Flat | None]] = {
    "relu": _below(0.0),
    "threshold": _threshold,
    "clamp_min": _clamp,
    "clamp": _clamp,
    "hardtanh": _hardtanh,  # ReLU6, too
    "gelu": _below(_GELU),
    "silu": _below(_SILU),
    "hardswish": _below(-3.0),
    "elu": _below(_ELU),  # SELU and CELU, too
    "tanh": _beyond(_TANH),
    "sigmoid": _beyond(_SIGMOID),
    "hardsigmoid": _beyond(3.0),
    "softsign": _beyond(_SOFTSIGN),
}
