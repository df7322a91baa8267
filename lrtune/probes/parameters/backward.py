"""Backward passes that leave no trace outside of the model, and the gradients that come of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.autograd import backward

from lrtune.errors import user_code
from lrtune.population.outside import KeptTensors
from lrtune.probes.parameters.autograd_graph import leaves_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor


def backpropagate(loss: Tensor, own: Iterable[Tensor], outside: KeptTensors | None = None) -> None:
    """Backpropagate a loss into a model; other tensors that it depends on get their gradients back.

    A loss may have parameters, a step may use a teacher: all models share these, and the user goes on with them.

    Args:
        loss: A number; nothing happens where it depends on nothing.
        own: What may keep gradients.
        outside: Where the other tensors are kept for the caller, who then puts them back.

    Raises:
        UserCodeError: If a backward pass of the user's own raises.
    """
    kept = KeptTensors() if outside is None else outside
    known = set(map(id, own))
    kept.keep(leaf for leaf in leaves_of(loss) if id(leaf) not in known)
    try:
        if loss.requires_grad:
            with user_code("backpropagating the loss"):
                # Into .grad, which reentrant checkpoints need; autograd.grad is refused by them.
                backward(loss)
    finally:
        if outside is None:
            kept.put_back()


def dense(gradient: Tensor) -> Tensor:
    """Return a gradient with a number in every place: embeddings may give sparse ones."""
    return gradient.to_dense() if gradient.is_sparse else gradient
