"""A tape's lines made shorter without changing a number, and turned into straight-line Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.utils._pytree import tree_map

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lrtune.population.fused.tape import Line, Slot

_aten = torch.ops.aten


def compiled(
    lines: list[Line], constants: dict[str, Any], results: list[Slot | None]
) -> Callable[[Sequence[torch.Tensor]], list[torch.Tensor | None]]:
    """Return a function of the inputs that runs the lines; every tensor is forgotten after its last use.

    Args:
        lines: In the order in which they were recorded.
        constants: Tensors by the names of their slots.
        results: What the function returns.
    """
    lines, results, fixed = _shortened(lines, results)
    lines = _in_place_order(lines, results)
    names: dict[str, Any] = dict(constants)
    for line in fixed:  # takes nothing of the inputs: the same every time
        value = line.operation(*line.args, **line.kwargs)
        names |= {slot.name: one for slot, one in zip(line.gives, _several(line, value), strict=True) if slot}
    last = _last_uses(lines, results)
    body = []
    for at, line in enumerate(lines):
        body.append(_source(line, at, names))
        done = [name for name, use in last.items() if use == at]
        if done:
            body.append(f"del {', '.join(done)}")
    body.append(f"return [{', '.join('None' if slot is None else slot.name for slot in results)}]")
    source = "def played(inputs):\n" + "\n".join(f"    {row}" for row in body)
    exec(compile(source, "<tape>", "exec"), names)
    function: Callable[[Sequence[torch.Tensor]], list[torch.Tensor | None]] = names["played"]
    return function


def _shortened(
    lines: list[Line], results: list[Slot | None]
) -> tuple[list[Line], list[Slot | None], list[Line]]:
    """Return lines and results without what is computed twice, multiplied by one or never used, and the fixed lines."""
    changed = _changed(lines)
    same: dict[str, Slot] = {}
    seen: dict[str, Line] = {}
    kept: list[Line] = []
    fixed: list[Line] = []

    def renamed(one: Any) -> Any:
        return same.get(getattr(one, "name", ""), one)

    for line in lines:
        line.args, line.kwargs = tree_map(renamed, (line.args, line.kwargs))
        names = {slot.name for slot in (*line.takes, *line.gives) if slot}
        if line.mutates or line.draws or names & changed:
            kept.append(line)
            continue
        if _is_times_one(line) or line.operation is _aten.lift_fresh_copy.default:
            same[line.gives[0].name] = line.args[0]  # type: ignore[union-attr]
            continue
        key = f"{line.operation} {line.args} {line.kwargs}"
        if key in seen:
            for slot, earlier in zip(line.gives, seen[key].gives, strict=True):
                if slot and earlier:
                    same[slot.name] = earlier
            continue
        seen[key] = line
        (kept if line.takes else fixed).append(line)
    results = [None if slot is None else renamed(slot) for slot in results]
    return _used(kept, results), results, fixed


def _changed(lines: list[Line]) -> set[str]:
    """Return the slots that show memory which some line changes in place."""
    memory: dict[str, str] = {}
    for line in lines:
        if line.shows and line.takes:
            first = line.takes[0].name
            memory |= {slot.name: memory.get(first, first) for slot in line.gives if slot}
    changed = {memory.get(slot.name, slot.name) for line in lines if line.mutates for slot in line.takes}
    return changed | {name for name, first in memory.items() if first in changed}


def _in_place_order(lines: list[Line], results: list[Slot | None]) -> list[Line]:
    """Compute products in the order of memory that their result is read in: (a b)ᵀ as bᵀ aᵀ.

    A linear layer's gradient comes as the transpose of a product, and every later operation on it, those of the
    optimizer above all, would go through memory in strides, ten times as slowly.
    """
    uses = Counter(slot.name for line in lines for slot in line.takes)
    uses.update(slot.name for slot in results if slot)
    products = {
        line.gives[0].name: line for line in lines if line.operation is _aten.bmm.default and line.gives[0]
    }
    returned = {slot.name for slot in results if slot}
    ordered: list[Line] = []
    for line in lines:
        product = products.get(line.takes[0].name) if line.takes else None
        given = line.gives[0]
        wanted = product is not None and given is not None and given.name in returned and _is_transpose(line)
        if not wanted or product is None or product.gives[0] is None or uses[product.gives[0].name] > 1:
            ordered.append(line)
            continue
        turned = [
            replace(line, args=(side, 1, 2), gives=[type(side)(f"{side_name}_of_{given.name}")])  # type: ignore[union-attr]
            for side, side_name in zip(product.args, ("left", "right"), strict=True)
        ]
        left, right = (one.gives[0] for one in turned)
        at = ordered.index(product)
        ordered[at : at + 1] = [*turned, replace(product, args=(right, left), gives=[given])]
    return ordered


def _is_transpose(line: Line) -> bool:
    """Whether a line swaps the last two of three dimensions."""
    return line.operation is _aten.transpose.int and {dim % 3 for dim in line.args[1:]} == {1, 2}


def _is_times_one(line: Line) -> bool:
    """Linear layers are batched as beta * bias + ..., with a beta of 1."""
    return bool(line.operation is _aten.mul.Scalar and line.args[1] == 1 and isinstance(line.args[1], int))


def _used(lines: list[Line], results: list[Slot | None]) -> list[Line]:
    wanted = {slot.name for slot in results if slot}
    kept = []
    for line in reversed(lines):
        if line.mutates or line.draws or any(slot and slot.name in wanted for slot in line.gives):
            kept.append(line)
            wanted |= {slot.name for slot in line.takes}
    return kept[::-1]


def _last_uses(lines: list[Line], results: list[Slot | None]) -> dict[str, int]:
    """Return where each tensor that a line gives is used last; those that are returned are left out."""
    last: dict[str, int] = {}
    given: set[str] = set()
    for at, line in enumerate(lines):
        given |= {slot.name for slot in _made(line) if slot and slot.name.isidentifier()}
        last |= {slot.name: at for slot in (*line.takes, *line.gives) if slot and slot.name in given}
    returned = {slot.name for slot in results if slot}
    return {name: at for name, at in last.items() if name not in returned}


def _source(line: Line, at: int, names: dict[str, Any]) -> str:
    names[f"operation{at}"] = line.operation
    arguments = [_written(one, names) for one in line.args]
    arguments += [f"{key}={_written(one, names)}" for key, one in line.kwargs.items()]
    call = f"operation{at}({', '.join(arguments)})"
    targets = ["_" if slot is None or not slot.name.isidentifier() else slot.name for slot in _made(line)]
    if line.several:
        return f"{''.join(f'{target}, ' for target in targets) or '_'} = {call}"
    return call if targets == ["_"] else f"{targets[0]} = {call}"


def _written(one: Any, names: dict[str, Any]) -> str:
    """Return an argument as source; what has no plain literal gets a name."""
    if hasattr(one, "name") and hasattr(type(one), "__dataclass_fields__"):
        return str(one.name)
    if isinstance(one, list | tuple):
        items = ", ".join(_written(item, names) for item in one)
        return f"[{items}]" if isinstance(one, list) else f"({items}{',' if len(one) == 1 else ''})"
    if one is None or isinstance(one, bool | int):
        return repr(one)
    name = f"value{len(names)}"
    names[name] = one
    return name


def _made(line: Line) -> list[Slot | None]:
    """Return what a line gives, None for what it only gives back."""
    taken = {slot.name for slot in line.takes}
    return [None if slot is None or slot.name in taken else slot for slot in line.gives]


def _several(line: Line, value: Any) -> list[Any]:
    return list(value) if line.several else [value]
