"""What came into being after the workers' template was forked, sent to them: once, in memory that all of them map.

What was there before (the task's functions, its data) is sent as a name. Tensors lie in the shared memory as they are
and are not copied again. Functions without a name that a module knows them by are sent as their code: both processes
are the same Python with the same modules.
"""

from __future__ import annotations

import io
import marshal
import mmap
import os
import pickle
import sys
import tempfile
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lrtune.population.sharded.refusal import CannotShardError

if TYPE_CHECKING:
    from collections.abc import Mapping

_ALIGNED = 64  # bytes: a cache line


@dataclass(frozen=True)
class Parcel:
    """An object's pickle, and the shared memory with its tensors.

    Attributes:
        pickled: The pickle.
        memory: A descriptor of the memory, -1 where there is none.
        places: Where in it each tensor lies, as (first byte, bytes).
    """

    pickled: bytes
    memory: int
    places: tuple[tuple[int, int], ...]

    def close(self) -> None:
        """Let go of the descriptor; whoever has mapped the memory keeps it."""
        if self.memory >= 0:
            os.close(self.memory)


def packed(value: Any, known: Mapping[str, Any]) -> Parcel:
    """Return an object ready to be sent.

    Args:
        value: The object.
        known: What the workers have already, by name.

    Raises:
        CannotShardError: If a part of it cannot be pickled.
    """
    buffer = io.BytesIO()
    tensors: list[np.ndarray[Any, Any]] = []
    names = {id(one): name for name, one in known.items()}
    try:
        _Pickler(buffer, names, tensors).dump(value)
    except Exception as error:  # a user's class may raise anything
        raise CannotShardError(f"a part cannot be sent to another process: {error}") from error
    places, size = [], 0
    for array in tensors:
        places.append((size, array.nbytes))
        size += -(-array.nbytes // _ALIGNED) * _ALIGNED
    return Parcel(buffer.getvalue(), _written(tensors, places, size) if size else -1, tuple(places))


def unpacked(parcel: Parcel, known: Mapping[str, Any]) -> Any:
    """Return the object; its tensors lie in the shared memory, private where they are written to."""
    if parcel.memory < 0:
        return _Unpickler(io.BytesIO(parcel.pickled), known, [b""] * len(parcel.places)).load()
    # Copied on writing: a model that works on its input in place must not change the others' data.
    mapped = mmap.mmap(parcel.memory, 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE)
    parts = [memoryview(mapped)[start : start + size] for start, size in parcel.places]
    return _Unpickler(io.BytesIO(parcel.pickled), known, parts).load()


def _written(tensors: list[np.ndarray[Any, Any]], places: list[tuple[int, int]], size: int) -> int:
    memory = _memory()
    os.truncate(memory, size)
    with mmap.mmap(memory, size) as mapped:
        for array, (start, length) in zip(tensors, places, strict=True):
            mapped[start : start + length] = array.tobytes()
    return memory


def _memory() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("lrtune")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Pickler(pickle.Pickler):
    def __init__(
        self, buffer: io.BytesIO, names: Mapping[int, str], tensors: list[np.ndarray[Any, Any]]
    ) -> None:
        super().__init__(buffer, protocol=5)
        self._names, self._tensors = names, tensors
        self._sent: dict[int, Any] = {}  # the same tensor twice is sent once, and is the same there

    def persistent_id(self, value: Any) -> Any:
        if id(value) in self._names:
            return ("known", self._names[id(value)])
        if type(value) is not torch.Tensor or not _is_plain(value):
            return None
        if id(value) not in self._sent:
            held = value.cpu()
            raw = held.contiguous().view(-1).view(torch.uint8).numpy() if held.numel() else np.empty(0, "u1")
            self._tensors.append(raw)
            name = ("tensor", len(self._tensors) - 1, held.dtype, tuple(held.shape), _strides(held))
            self._sent[id(value)] = name
        return self._sent[id(value)]

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, FunctionType) and not _importable(value):
            cells = tuple(cell.cell_contents for cell in value.__closure__ or ())
            code = marshal.dumps(value.__code__)
            parts = (code, value.__module__, value.__name__, value.__defaults__, cells, value.__kwdefaults__)
            return _function, parts
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, buffer: io.BytesIO, known: Mapping[str, Any], parts: list[Any]) -> None:
        super().__init__(buffer)
        self._known, self._parts = known, parts
        self._read: dict[int, torch.Tensor] = {}

    def persistent_load(self, name: Any) -> Any:
        if name[0] == "known":
            return self._known[name[1]]
        _, at, dtype, shape, strides = name
        if at not in self._read:
            self._read[at] = _tensor(self._parts[at], dtype, shape, strides)
        return self._read[at]


def _tensor(
    part: Any, dtype: torch.dtype, shape: tuple[int, ...], strides: tuple[int, ...] | None
) -> torch.Tensor:
    if not len(part):
        return torch.empty(shape, dtype=dtype)
    values = torch.frombuffer(part, dtype=dtype).view(shape)
    return values if strides is None else torch.empty_strided(shape, strides, dtype=dtype).copy_(values)


def _is_plain(tensor: torch.Tensor) -> bool:
    usual = tensor.layout is torch.strided and not tensor.requires_grad and not tensor.is_quantized
    return usual and not (tensor.is_conj() or tensor.is_neg()) and tensor.device.type != "meta"


def _strides(tensor: torch.Tensor) -> tuple[int, ...] | None:
    """Return a dense tensor's strides where they are not the usual ones: kernels round by the order in memory."""
    if tensor.is_contiguous():
        return None
    dense = torch.empty_like(tensor, memory_format=torch.preserve_format)
    return None if dense.is_contiguous() else dense.stride()


def _importable(function: FunctionType) -> bool:
    module = sys.modules.get(function.__module__)
    return getattr(module, function.__qualname__, None) is function


def _function(
    code: bytes, module: str, name: str, defaults: Any, cells: tuple[Any, ...], keywords: Any
) -> FunctionType:
    space = vars(sys.modules[module])
    made = FunctionType(marshal.loads(code), space, name, defaults, tuple(map(CellType, cells)))
    made.__kwdefaults__ = keywords
    return made
