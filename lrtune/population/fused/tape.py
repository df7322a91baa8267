"""A computation on tensors recorded once, operation by operation, and played again on other values.

What `torch.fx.experimental.proxy_tensor.make_fx` does, without loading torch's compiler, which takes seconds. The tape
holds what reached the kernels: no autograd, no batching rules, no Python of the user's.

A tape is right only where the operations do not depend on the values: one that reads a value or whose result's shape
depends on them is refused. What cannot be seen is frozen into it (a number that the user's code draws from NumPy, a
counter on the module): whoever plays one has compared it with the computation itself before, on other values.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from lrtune.errors import LrtuneError
from lrtune.population.fused.tape_code import compiled

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_aten = torch.ops.aten
_DETACHES = (_aten.detach.default, _aten.alias.default)


class NotTapeableError(LrtuneError):
    """The computation depends on values; says where."""


@dataclass(frozen=True)
class Slot:
    """A tensor's place on a tape: an input, a constant, or what an operation gave."""

    name: str


@dataclass
class Line:
    """One operation.

    Attributes:
        operation: Of `torch.ops`.
        args: Its arguments, a `Slot` in place of each tensor.
        kwargs: Its keywords, likewise.
        gives: The slot of each tensor it gives, None for what is none.
        several: Whether it gives a tuple or list.
    """

    operation: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    gives: list[Slot | None]
    several: bool

    @property
    def takes(self) -> list[Slot]:
        """The slots among its arguments."""
        return [leaf for leaf in tree_leaves((self.args, self.kwargs)) if isinstance(leaf, Slot)]

    @property
    def mutates(self) -> bool:
        """Whether it changes an argument in place."""
        return bool(self.operation._schema.is_mutable)

    @property
    def shows(self) -> bool:
        """Whether it gives another view of an argument's memory."""
        return any(one.alias_info is not None for one in self.operation._schema.returns)

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers."""
        return torch.Tag.nondeterministic_seeded in self.operation.tags


def record(
    function: Callable[[], Sequence[torch.Tensor | None]], inputs: Sequence[torch.Tensor]
) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor | None]]:
    """Run a function once and return what plays the same operations on other inputs.

    Args:
        function: Computes tensors from the inputs, which it holds; may change them in place.
        inputs: The tensors that will be others when it is played, of the same shapes, strides and types.

    Returns:
        A function of such inputs that returns what `function` would.

    Raises:
        NotTapeableError: If an operation depends on values.
    """
    with _Recorder(inputs) as recorder:
        results = function()
    given = [None if one is None else recorder.slot(one) for one in results]
    return compiled(recorder.lines, recorder.constants, given)


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes every operation, and which tensors of the tape it takes and gives."""

    def __init__(self, inputs: Sequence[torch.Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.lines: list[Line] = []
        self.constants: dict[str, Any] = {}
        self._slots: dict[int, Slot] = {}
        self._seen: dict[int, weakref.ref[torch.Tensor]] = {}  # a slot ends with its tensor
        self._named = 0
        for index, tensor in enumerate(inputs):
            self._place(tensor, f"inputs[{index}]")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing here is compiled; otherwise torch would load its compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args, kwargs = tuple(args), kwargs or {}
        if torch.Tag.data_dependent_output in func.tags or torch.Tag.dynamic_output_shape in func.tags:
            raise NotTapeableError(f"{func} depends on the values of its tensors")
        if func is _aten.lift_fresh.default:
            return self._fresh(func(*args, **kwargs))
        slots, named = tree_map(self._slot_or_value, (args, kwargs))
        out = func(*args, **kwargs)
        if func in _DETACHES or _is_same_view(func, args, out):
            self._place(out, self.slot(args[0]).name)
            return out
        several = isinstance(out, list | tuple)
        given = list(out) if several else [out]
        gives = [self._given(one) if isinstance(one, torch.Tensor) else None for one in given]
        self.lines.append(Line(func, slots, named, gives, several))
        return out

    def _fresh(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note a tensor that the user's code makes of numbers at each call, and may then change in place."""
        name = f"constant{len(self.constants)}"
        self.constants[name] = tensor.detach().clone()
        copied = self._place(tensor, self._new_name())
        self.lines.append(Line(_aten.lift_fresh_copy.default, (Slot(name),), {}, [copied], several=False))
        return tensor

    def slot(self, tensor: torch.Tensor) -> Slot:
        """Return a tensor's slot; one that came from nowhere is a constant."""
        if id(tensor) not in self._slots:
            name = f"constant{len(self.constants)}"
            self.constants[name] = tensor.detach()
            self._place(tensor, name)
        return self._slots[id(tensor)]

    def _given(self, tensor: torch.Tensor) -> Slot:
        # An operation in place gives back what it took.
        return self._slots.get(id(tensor)) or self._place(tensor, self._new_name())

    def _new_name(self) -> str:
        self._named += 1
        return f"t{self._named}"

    def _slot_or_value(self, one: Any) -> Any:
        return self.slot(one) if isinstance(one, torch.Tensor) else one

    def _place(self, tensor: torch.Tensor, name: str) -> Slot:
        address = id(tensor)
        slot = self._slots[address] = Slot(name)
        self._seen[address] = weakref.ref(tensor, lambda _: self._ended(address))
        return slot

    def _ended(self, address: int) -> None:
        del self._slots[address], self._seen[address]


def _is_same_view(func: Any, args: tuple[Any, ...], out: Any) -> bool:
    """Say whether an operation gave its first argument back as it is: batching rules expand what has the shape."""
    if not (args and isinstance(args[0], torch.Tensor) and isinstance(out, torch.Tensor)) or out is args[0]:
        return False
    one = args[0]
    alike = (one.shape, one.stride(), one.dtype) == (out.shape, out.stride(), out.dtype)
    return bool(alike and func.is_view and one.data_ptr() == out.data_ptr())
