"""Operations that pair every example with every other one, and what becomes of the pairs.

Pairs are meant where a program treats them as pairs: sums or a softmax over one of their two dimensions, masks, their
diagonal, products of matrices. By accident they are made where all that follows is elementwise, as far as a mean or
sum over everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from lrtune.data.nest import tensors_of
from lrtune.probes.model.user_line import user_line

if TYPE_CHECKING:
    from collections.abc import Mapping

_ADDING = frozenset({"add", "radd", "sub", "rsub", "subtract"})
_SCALING = frozenset({"mul", "rmul", "multiply", "div", "truediv", "true_divide", "divide"})
_COMBINING = _ADDING | _SCALING | {"rdiv", "rtruediv", "pow", "rpow", "maximum", "minimum", "max", "min"}
_COMBINING |= {"fmax", "fmin", "hypot", "xlogy", "logaddexp"}
_LOSSES = frozenset(
    {"mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "poisson_nll_loss", "soft_margin_loss"}
)
_LOSSES |= {"kl_div", "hinge_embedding_loss", "gaussian_nll_loss"}
_CARRYING = frozenset(
    {"neg", "float", "double", "to", "type", "detach", "clone", "contiguous", "requires_grad"}
)
_RESHAPING = frozenset({"flatten", "view", "reshape", "squeeze", "unsqueeze", "view_as", "reshape_as"})
_BENDING = frozenset(
    {"abs", "exp", "expm1", "log", "log1p", "log2", "log10", "sqrt", "rsqrt", "square", "reciprocal"}
)
_BENDING |= {
    "sigmoid",
    "logsigmoid",
    "log_sigmoid",
    "logit",
    "softplus",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
}
_BENDING |= {
    "gelu",
    "silu",
    "mish",
    "tanh",
    "hardtanh",
    "erf",
    "sin",
    "cos",
    "cosh",
    "clamp",
    "clip",
    "clamp_min",
}
_BENDING |= {"clamp_max", "where", "nan_to_num", "linear", "dropout", "layer_norm"}
_FOLLOWED = _COMBINING | _CARRYING | _RESHAPING | _BENDING
_TOTALS = frozenset({"mean", "sum", "nanmean", "nansum"})
_ON_PURPOSE = frozenset({"cdist", "pdist", "pairwise_distance"})


@dataclass
class Crossing:
    """One operation that has paired all examples.

    Attributes:
        left: Shape of one operand.
        right: Shape of the other.
        result: The shape that both are blown up to.
        count: Examples of the batch.
        line: `file:line` in the user's code.
        explicit: Whether an operand was given its further dimension on purpose.
        meant: Whether the program treats the result as pairs.
    """

    left: list[int]
    right: list[int]
    result: list[int]
    count: int
    line: str
    explicit: bool
    meant: bool = False


@dataclass(frozen=True)
class _Pairs:
    """A tensor of pairs; it is kept so that its id stays its own.

    `additive`: a sum of both examples' numbers so far, whose mean over all pairs is the sum of their means.
    """

    tensor: torch.Tensor
    crossing: Crossing
    additive: bool


class PairWatch(TorchFunctionMode):
    """Follows what broadcasting makes of two operands of different rank.

    Pairs written out, `x[:, None] - y[None]`, have operands of equal rank and are never looked at.

    Args:
        count: Examples of the batch, a size that no other dimension has.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._pairs: dict[int, _Pairs] = {}
        self._widened: dict[int, torch.Tensor] = {}
        self._summed: list[Crossing] = []
        self._compares = False  # the program compares examples somewhere on purpose

    @property
    def unmeant(self) -> list[Crossing]:
        """The crossings whose pairs were summed up without regard to which belong together."""
        return [one for one in self._summed if not one.meant and not (one.explicit and self._compares)]

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Let a call of torch pass and note what it makes of pairs."""
        named = dict(kwargs or {})
        result = func(*args, **named)
        if isinstance(result, torch.Tensor) and result.is_floating_point() and not result.is_nested:
            operands = list(tensors_of([*args, named]))
            name = getattr(func, "__name__", "").strip("_")
            self._note(name, operands, result, args, named)
        return result

    def _note(
        self, name: str, operands: list[torch.Tensor], result: torch.Tensor, args: Any, named: Any
    ) -> None:
        followed = [self._pairs[id(one)] for one in operands if id(one) in self._pairs]
        if followed:
            self._follow(name, operands, result, followed)
            return
        self._compares |= name in _ON_PURPOSE
        if name in _COMBINING or name in _LOSSES:
            self._look(name, operands, result)
        if _widens(name, args, named) or (name in _FOLLOWED and self._all_widened(operands)):
            self._widened[id(result)] = result

    def _all_widened(self, operands: list[torch.Tensor]) -> bool:
        return bool(operands) and all(id(one) in self._widened or not one.ndim for one in operands)

    def _look(self, name: str, operands: list[torch.Tensor], result: torch.Tensor) -> None:
        """Note the pairs that two tensors become."""
        if len(operands) < 2 or max(map(self._batches, operands[:2])) != 1:
            return
        one, other = operands[:2]
        try:
            shape = torch.broadcast_shapes(one.shape, other.shape)  # type: ignore[no-untyped-call]
        except RuntimeError:  # a loss that takes class numbers, say
            return
        if sum(size == self._count for size in shape) != 2 or result.shape not in (shape, torch.Size()):
            return
        explicit = any(id(operand) in self._widened for operand in (one, other))
        if one.ndim == other.ndim or _same_numbers(one, other):
            self._compares = True
            return
        if explicit and one.requires_grad == other.requires_grad:
            return  # all pairs of two outputs: positives against negatives
        shapes = list(one.shape), list(other.shape), list(shape)
        crossing = Crossing(*shapes, self._count, user_line(), explicit)
        if result.ndim:
            self._pairs[id(result)] = _Pairs(result, crossing, name in _ADDING)
        else:
            self._summed.append(crossing)

    def _follow(
        self, name: str, operands: list[torch.Tensor], result: torch.Tensor, pairs: list[_Pairs]
    ) -> None:
        """Follow pairs into the next tensor, or see what they come to."""
        known = {id(one.tensor) for one in pairs}
        others = [one for one in operands if id(one) not in known]
        masked = any(self._batches(one) > 1 for one in others)
        additive = all(one.additive for one in pairs) and _is_linear(name, others, len(pairs))
        if (name in _TOTALS or name in _LOSSES) and not result.ndim and not masked:
            if not additive:
                self._summed.extend(one.crossing for one in pairs)
        elif not masked and (
            name in _FOLLOWED or name in _LOSSES or self._keeps_pairs(name, result, pairs[0])
        ):
            self._pairs[id(result)] = _Pairs(result, pairs[0].crossing, additive)
        else:
            for one in pairs:
                one.crossing.meant = True

    def _keeps_pairs(self, name: str, result: torch.Tensor, pairs: _Pairs) -> bool:
        """Say whether a sum or mean runs over other dimensions than those of the pairs."""
        return name in _TOTALS and not pairs.crossing.explicit and self._batches(result) == 2

    def _batches(self, tensor: torch.Tensor) -> int:
        return sum(size == self._count for size in tensor.shape)


def _is_linear(name: str, others: list[torch.Tensor], pairs: int) -> bool:
    if name in _SCALING:
        return pairs == 1 and all(one.ndim == 0 for one in others)
    return name in _ADDING | _CARRYING | _RESHAPING | _TOTALS


def _widens(name: str, args: Any, named: Any) -> bool:
    """Say whether a call gives a tensor a dimension of one on purpose."""
    if name == "getitem" and len(args) > 1:
        index = args[1] if isinstance(args[1], tuple) else (args[1],)
        return any(one is None for one in index)
    return name in {"unsqueeze", "view", "reshape", "expand_dims"} or bool(named.get("keepdim"))


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    try:
        return one.data_ptr() == other.data_ptr() and one.numel() == other.numel()
    except RuntimeError:  # tensors without a storage, as in a transformed function
        return False
