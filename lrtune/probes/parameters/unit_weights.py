"""Which parameters are weights of units, and the view of each as one row a unit."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.probes.model.hooks import hooked
from lrtune.probes.parameters.autograd_graph import nodes_behind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_GATES = {"LSTM": 4, "LSTMCell": 4, "GRU": 3, "GRUCell": 3}  # blocks of rows in a recurrent layer's weight
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_RECURRENT = (nn.RNNBase, nn.RNNCellBase)
_LAYERS = (nn.Linear, nn.Bilinear, nn.MultiheadAttention, *_CONVOLUTIONS, *_TRANSPOSED, *_RECURRENT)
# What a weight may go through on its way into a product, and the products, by the names of autograd's nodes.
_TURNED = {
    "T",
    "Transpose",
    "Permute",
    "View",
    "UnsafeView",
    "ReshapeAlias",
    "Expand",
    "Unsqueeze",
    "Squeeze",
}
_VIEWS = frozenset(_TURNED | {"ToCopy", "Clone", "Alias"})
_PRODUCTS = frozenset({"Mm", "Addmm", "Bmm", "Baddbmm", "Mv", "Linear", "Convolution"})


@dataclass(frozen=True)
class UnitWeight:
    """The weights into the units of a layer.

    Attributes:
        name: The parameter's name, and which part of it.
        parameter: The parameter's name alone.
        axis: The dimension that counts units, after `blocks` has split the first.
        blocks: Into how many blocks the first dimension is split.
        block: Which of them is meant; None where each unit has a row in every block.
        of_layer: Whether it belongs to a layer of torch, so that the meaning of its dimensions is known.
    """

    name: str
    parameter: str
    axis: int = 0
    blocks: int = 1
    block: int | None = 0
    of_layer: bool = True

    def rows(self, value: torch.Tensor) -> torch.Tensor:
        """Return the parameter's value, or its gradient, as `[units, inputs]`."""
        if self.blocks > 1:
            split = value.reshape(self.blocks, -1, *value.shape[1:])
            value = split.transpose(0, 1) if self.block is None else split[self.block]
        return value.movedim(self.axis, 0).flatten(1)


def layer_weights(model: nn.Module) -> Iterator[UnitWeight]:
    """Yield the trainable weights of a model's layers; embeddings and grouped convolutions hold no dense units."""
    embedded = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)}
    for prefix, module in model.named_modules():
        if not isinstance(module, _LAYERS) or getattr(module, "groups", 1) > 1:
            continue
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}".lstrip(".")
            if parameter.requires_grad and parameter.ndim >= 2 and id(parameter) not in embedded:
                yield from _of_layer(module, name, full)


def tables(model: nn.Module) -> Iterator[UnitWeight]:
    """Yield the embeddings, whose units are their columns: the data tell rows apart, and nothing else does columns."""
    for prefix, module in model.named_modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.weight.requires_grad:
            full = f"{prefix}.weight".lstrip(".")
            yield UnitWeight(full, full, axis=1, of_layer=False)


def _of_layer(module: nn.Module, name: str, full: str) -> Iterator[UnitWeight]:
    if isinstance(module, _RECURRENT):
        if name.startswith("weight_ih"):  # what tells units apart; the recurrent weights may begin alike
            gates = _GATES.get(_recurrent_kind(module), 1)
            yield UnitWeight(full, full, blocks=gates, block=None if gates > 1 else 0)
    elif name == "in_proj_weight":
        for block, part in enumerate(("query", "key", "value")):
            yield UnitWeight(f"{full} ({part})", full, blocks=3, block=block)
    elif "weight" in name:
        yield UnitWeight(full, full, axis=1 if isinstance(module, _TRANSPOSED) else 0)


def _recurrent_kind(module: nn.Module) -> str:
    return next((one.__name__ for one in type(module).__mro__ if one.__name__ in _GATES), "")


def own_weights(model: nn.Module) -> Iterator[UnitWeight]:
    """Yield the matrices of modules of the user's own, once for each dimension that may count units."""
    for prefix, module in model.named_modules():
        if type(module).__module__.startswith("torch.") or isinstance(module, _LAYERS):
            continue
        for name, parameter in module.named_parameters(recurse=False):
            full = f"{prefix}.{name}".lstrip(".")
            wide = [axis for axis, size in enumerate(parameter.shape) if size >= 2]
            if parameter.requires_grad and len(wide) >= 2:
                for axis in wide:
                    yield UnitWeight(full, full, axis=axis, of_layer=False)


def last_layer_run(model: nn.Module, calls: list[nn.Module]) -> str | None:
    """Return the name of the weight of the layer that ran last: its units are the outputs."""
    names = {id(module): name for name, module in model.named_modules()}
    return f"{names[id(calls[-1])]}.weight".lstrip(".") if calls else None


def recorded_layers(model: nn.Module, calls: list[nn.Module]) -> AbstractContextManager[None]:
    """Let every layer note its calls in a list, inside the block."""

    def note(_: str, module: nn.Module, *__: Any) -> None:
        calls.append(module)

    return hooked(model, post=note, only=lambda _, module: isinstance(module, _LAYERS))


def multiplied(loss: torch.Tensor) -> set[int]:
    """Return the identities of the leaves that enter a matrix product or a convolution as they are."""
    users = defaultdict(list)
    leaves = []
    for node in nodes_behind([loss.grad_fn]):
        leaves += [node] if hasattr(node, "variable") else []
        for following, _ in node.next_functions:
            users[following].append(node)
    return {id(leaf.variable) for leaf in leaves if _enters_a_product(leaf, users)}


def _enters_a_product(leaf: Any, users: dict[Any, list[Any]]) -> bool:
    waiting = list(users[leaf])
    while waiting:
        node = waiting.pop()
        kind = node.name().partition("Backward")[0]
        if kind in _PRODUCTS:
            return True
        if kind in _VIEWS:
            waiting += users[node]
    return False
