"""Whether a step or loss divides vectors by their lengths over the batch and then compares examples by them.

`F.normalize(z, dim=0)` gives each column length 1, not each example: its numbers depend on all others' of the batch.
A correlation of columns over the batch (Barlow Twins) wants just that; it contracts the batch afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch.nn import functional as F  # noqa: N812 - torch's own name for it
from torch.overrides import TorchFunctionMode

from lrtune.data.nest import example_count, first_rows, tensors_of
from lrtune.probes.model.hooks import hooked, uncompiled
from lrtune.probes.model.model_calls import one_row_each
from lrtune.probes.model.user_line import user_line

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from lrtune.probes.sample import Sample

_SIZES = (7, 11, 13, 5, 17)  # of a batch: few other dimensions are multiples of these primes
_LENGTHS = frozenset({"norm", "vector_norm"})
_GUARDS = frozenset({"add", "clamp", "clamp_min", "maximum"})  # what keeps a length from being 0
_CARRYING = frozenset(
    {"cat", "concat", "chunk", "split", "getitem", "get", "t", "T", "transpose", "mT", "float"}
)
_PRODUCTS = frozenset({"matmul", "mm", "cdist", "einsum"})
_DIVISIONS = frozenset({"div", "truediv", "true_divide", "divide"})


@dataclass(frozen=True)
class BatchLengths:
    """A comparison of examples by vectors of which each column, over the batch, has length 1.

    Attributes:
        shape: Of the vectors.
        count: Examples of the trial batch.
        line: `file:line` in the user's code that divides.
    """

    shape: list[int]
    count: int
    line: str


class _Watch(TorchFunctionMode):
    """Follows vectors divided by their lengths over the batch; the model's own operations are passed over."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count
        self._lengths: dict[int, torch.Tensor] = {}
        self._divided: dict[
            int, tuple[torch.Tensor, BatchLengths]
        ] = {}  # tensors are kept: their ids stay theirs
        self._multiplied: dict[int, tuple[torch.Tensor, BatchLengths]] = {}
        self.inside = 0  # calls of the model that run
        self.compared: list[BatchLengths] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Let a call of torch pass and note what it does to such vectors."""
        named = dict(kwargs or {})
        result = func(*args, **named)
        if not self.inside:
            name = getattr(func, "__name__", "").strip("_")
            if name == "get":  # a property: z.T
                name = getattr(getattr(func, "__self__", None), "__name__", "")
            self._note(func, name, args, named, list(tensors_of(result)))
        return result

    def _note(self, func: Any, name: str, args: Any, named: Any, results: list[torch.Tensor]) -> None:
        operands = list(tensors_of([*args, named]))
        if not operands or not results:
            return
        if self._divides(func, name, operands, args, named):
            seen = BatchLengths(list(operands[0].shape), self._count, user_line())
            self._divided[id(results[0])] = results[0], seen
        elif self._is_length(name, operands[0], args, named):
            self._lengths[id(results[0])] = results[0]
        else:
            self._follow(name, operands, args, named, results)

    def _divides(self, func: Any, name: str, operands: list[torch.Tensor], args: Any, named: Any) -> bool:
        if func is F.normalize:
            return self._is_over_batch(operands[0], _dimension(args, named, 2))
        return name in _DIVISIONS and len(operands) > 1 and id(operands[1]) in self._lengths

    def _is_length(self, name: str, operand: torch.Tensor, args: Any, named: Any) -> bool:
        if name in _GUARDS:
            return id(operand) in self._lengths
        return name in _LENGTHS and self._is_over_batch(operand, _dimension(args, named, 2))

    def _is_over_batch(self, tensor: torch.Tensor, dimension: Any) -> bool:
        """Say whether a dimension of the outputs runs over examples, and the other does not."""
        if tensor.ndim != 2 or not tensor.requires_grad or tensor.is_leaf or dimension not in (0, -2):
            return False
        return len(tensor) % self._count == 0 and tensor.shape[1] % self._count != 0

    def _follow(
        self, name: str, operands: list[torch.Tensor], args: Any, named: Any, results: list[torch.Tensor]
    ) -> None:
        known = [self._divided[id(one)][1] for one in operands if id(one) in self._divided]
        if known and name in _CARRYING:
            self._divided |= {id(one): (one, known[0]) for one in results}
        elif known and name in _PRODUCTS and results[0].ndim == 2:
            if all(size % self._count == 0 for size in results[0].shape):
                self.compared.append(known[0])
        elif len(known) > 1 and name in {"mul", "multiply"}:
            self._multiplied[id(results[0])] = results[0], known[0]
        elif name == "sum" and id(operands[0]) in self._multiplied and _dimension(args, named, 1) in (1, -1):
            self.compared.append(self._multiplied[id(operands[0])][1])


def _dimension(args: Any, named: Any, place: int) -> Any:
    dimension = named.get("dim", args[place] if len(args) > place else None)
    alone = isinstance(dimension, list | tuple) and len(dimension) == 1
    return dimension[0] if alone else dimension


def batch_lengths(sample: Sample) -> BatchLengths | None:
    """Return the first such comparison of a small batch, None where there is none or examples cannot be counted."""
    batch = sample.batches[0]
    if not one_row_each(batch) or not (sample.train.collated or sample.train.batch_count != 1):
        return None
    widths = {size for one in tensors_of(batch) for size in one.shape[1:]}
    widths |= {size for parameter in sample.model.parameters() for size in parameter.shape}
    fitting = (one for one in _SIZES if one <= example_count(batch) and all(size % one for size in widths))
    count = next(fitting, None)
    if count is None:
        return None
    watch = _Watch(count)

    def enters(*_: Any) -> None:
        watch.inside += 1

    def leaves(*_: Any) -> None:
        watch.inside -= 1

    whole = hooked(sample.model, pre=enters, post=leaves, only=lambda _, module: module is sample.model)
    with uncompiled(sample.model), whole, watch:
        sample.run(sample.model, first_rows(batch, count), training=True, graph=True)
    return next(iter(watch.compared), None)
