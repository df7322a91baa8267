"""What a loss was computed from: the nodes of its autograd graph, and the leaves that it ends in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


def nodes_behind(roots: Iterable[Any]) -> Iterator[Any]:
    """Yield the nodes that a backward pass visits from some nodes on, these first and the nearest next.

    Args:
        roots: Nodes (`tensor.grad_fn`); None entries are passed over.
    """
    waiting = deque(root for root in roots if root is not None)
    seen = set(waiting)
    while waiting:
        node = waiting.popleft()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)


def leaves_behind(roots: Iterable[Any]) -> list[torch.Tensor]:
    """Return the tensors in whose `.grad` a backward pass from some nodes on ends."""
    return [node.variable for node in nodes_behind(roots) if hasattr(node, "variable")]


def leaves_of(tensor: torch.Tensor) -> list[torch.Tensor]:
    """Return the leaves that a tensor was computed from: itself where it is one.

    >>> weight = torch.ones(2, requires_grad=True)
    >>> [leaf is weight for leaf in leaves_of((2 * weight).sum())], leaves_of(torch.ones(2))
    ([True], [])
    """
    if not tensor.requires_grad:
        return []
    return [tensor] if tensor.grad_fn is None else leaves_behind([tensor.grad_fn])


def is_python_node(node: Any) -> bool:
    """Say whether a node's backward is Python code: below it a graph may be hidden, as reentrant checkpoints do."""
    return isinstance(node, torch.autograd.function.BackwardCFunction)
