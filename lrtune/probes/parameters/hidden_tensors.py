"""Trainable tensors that a model keeps where `parameters()` does not look: in plain lists, dicts and attributes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch import nn

from lrtune.probes.parameters.autograd_graph import leaves_of

_MOST_ITEMS = 4096  # in one attribute: vocabularies and tables are large, lists of layers are not
_DEEPEST = 4  # containers inside containers
_OF_TORCH = frozenset(vars(nn.Module()))  # what every module holds: registries and hooks


@dataclass(frozen=True)
class Hidden:
    """A trainable tensor that no module has registered.

    Attributes:
        path: Where it lies: `layers[0].weight`.
        place: The attribute that hides it: `layers`.
        kind: What that attribute holds: `list`, `tuple`, `dict`, `set`, `tensor`, or the class of an object.
        in_module: Whether a module lies there and not a bare tensor.
        training: The mode of that module; True for a bare tensor.
        tensor: The leaf itself.
    """

    path: str
    place: str
    kind: str
    in_module: bool
    training: bool
    tensor: torch.Tensor


def hidden_tensors(model: nn.Module) -> dict[int, Hidden]:
    """Return what a model keeps and has not registered, by the identity of the tensor.

    Lists, tuples, dicts and sets in the attributes of its modules are searched, and the attributes of plain objects.
    A tensor that was computed from others once, in `__init__`, stands for those.

    Args:
        model: Best one that has not run: what it stores while running is no parameter.
    """
    search = _Search({id(parameter) for parameter in model.parameters()}, set(map(id, model.modules())))
    for name, module in model.named_modules():
        search.attributes(module, name)
    return search.found


class _Search:
    def __init__(self, registered: set[int], modules: set[int]) -> None:
        self.found: dict[int, Hidden] = {}
        self._registered = registered
        self._modules = modules
        self._searched: set[int] = set()  # what many modules share, such as settings and a vocabulary

    def attributes(self, module: nn.Module, prefix: str, place: tuple[str, str] | None = None) -> None:
        """Search a module's own attributes.

        Args:
            module: Registered or hidden.
            prefix: Its path.
            place: Attribute and kind that hide the module, None for a registered one.
        """
        training = place is None or module.training
        for name, value in list(vars(module).items()):
            if name not in _OF_TORCH and id(value) not in self._searched:
                self._searched.add(id(value))
                path = f"{prefix}.{name}".lstrip(".")
                self._value(value, path, place or (path, _kind(value)), (place is not None, training))

    def _value(self, value: Any, path: str, place: tuple[str, str], owner: tuple[bool, bool]) -> None:
        """Search what lies in a value, the nearest first: large tables then hide nothing that stands beside them."""
        waiting, left = deque([(value, path, 0)]), _MOST_ITEMS
        while waiting:
            value, path, depth = waiting.popleft()
            if isinstance(value, torch.Tensor):
                self._tensor(value, path, place, owner)
            elif isinstance(value, nn.Module):
                self._module(value, path, place)
            elif depth <= _DEEPEST and left > 0:
                items = _first_items(value, left, objects=depth == 0)
                left -= len(items)
                waiting.extend((item, path + step, depth + 1) for step, item in items)

    def _tensor(
        self, tensor: torch.Tensor, path: str, place: tuple[str, str], owner: tuple[bool, bool]
    ) -> None:
        for leaf in leaves_of(tensor):
            if id(leaf) not in self._registered:
                self.found.setdefault(id(leaf), Hidden(path, *place, *owner, leaf))

    def _module(self, module: nn.Module, path: str, place: tuple[str, str]) -> None:
        if id(module) in self._modules:
            return
        for name, part in module.named_modules(prefix=path):
            self._modules.add(id(part))
            for own, parameter in part.named_parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in self._registered:
                    hidden = Hidden(f"{name}.{own}", *place, True, part.training, parameter)
                    self.found.setdefault(id(parameter), hidden)
            self.attributes(part, name, place)


def _first_items(value: Any, most: int, objects: bool) -> list[tuple[str, Any]]:
    try:
        return list(islice(_inside(value, objects), most))
    except Exception:  # containers of the user's own may read from a file that is closed
        return []


def _inside(value: Any, objects: bool) -> Iterator[tuple[str, Any]]:
    """Yield what lies in a container, or in an object's attributes, each with its step of the path."""
    if isinstance(value, Mapping):
        yield from ((f"[{key!r}]", item) for key, item in value.items())
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    elif isinstance(value, AbstractSet):
        yield from (("{…}", item) for item in value)
    elif objects and _is_plain_object(value):
        yield from ((f".{name}", item) for name, item in vars(value).items())


def _is_plain_object(value: Any) -> bool:
    home = type(value).__module__.partition(".")[0]
    return hasattr(value, "__dict__") and not isinstance(value, type) and home not in ("torch", "builtins")


def _kind(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return "tensor"
    for kind in (list, tuple):
        if isinstance(value, kind):
            return kind.__name__
    if isinstance(value, Mapping):
        return "dict"
    return "set" if isinstance(value, AbstractSet) else type(value).__name__
