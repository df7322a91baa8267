"""Whether probabilities reach a loss that expects logits.

The loss's graph says it for sure: a softmax or sigmoid whose result enters, through nothing but changes of shape, the
softmax or sigmoid of the loss. Probabilities that were computed by hand are known by their sums.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_SQUASHING = {"SoftmaxBackward0": "softmax", "SigmoidBackward0": "sigmoid"}
_EXPECTING = {  # what each takes its first argument for, by the name of its node
    "LogSoftmaxBackward0": "cross-entropy",
    "BinaryCrossEntropyWithLogitsBackward0": "binary cross-entropy with logits",
    "LogSigmoidBackward0": "a log-sigmoid",
}
_PROBABILITIES = "BinaryCrossEntropyBackward0"  # expects probabilities: one squashing, not two
_LIKELIHOOD = ("NllLossBackward0", "NllLoss2DBackward0")  # expects log-probabilities
_SHAPES = (
    "View", "UnsafeView", "ReshapeAlias", "Transpose", "T", "Permute", "Squeeze", "Unsqueeze", "Clone", "Alias",
    "Slice", "Select", "Expand", "ToCopy", "Index", "Contiguous", "MaskedSelect",
)  # fmt: skip
_SUM = 1e-3  # how far sums of probabilities are from 1: half precision keeps three digits
_NODES = 100_000  # of a graph that are looked at; nets of thousands of layers have fewer


_SQUASHES = (nn.Softmax, nn.Sigmoid, nn.Softmax2d)


@dataclass(frozen=True)
class OutputKind:
    """What reaches the loss.

    Attributes:
        squashed_by: "softmax", "sigmoid", or "probabilities" where rows sum to one; None for logits.
        expects: The loss's name.
        module: Name of the module that did it, where one of torch's own did.
        classes: Width of the output over classes, None where not known.
        loss: At initialisation.
    """

    squashed_by: str | None
    expects: str
    module: str | None
    classes: int | None
    loss: float


def output_kind(sample: Sample) -> OutputKind | None:
    """Look at the graph of the first batch's loss, and at its output where the loss is softmax cross-entropy."""
    model = sample.model
    noted: dict[str, torch.Tensor] = {}
    with hooked(model, post=_note(noted), only=lambda name, module: isinstance(module, _SQUASHES)):
        outcome = sample.run(model, sample.batches[0], training=True, graph=True)
    found = _in_graph(outcome.loss.grad_fn)
    output, target = outcome.output, outcome.target
    dimension = None
    if sample.family is not None and isinstance(output, torch.Tensor) and isinstance(target, torch.Tensor):
        dimension = sample.family.dimension(output, target)
    if found is None and dimension is not None and sample.family is not None:
        found = _by_values(sample.family.name, output.detach(), dimension)
    if found is None:
        return None
    classes = None if dimension is None else int(output.shape[dimension])
    return OutputKind(*found, _module(noted, output), classes, float(outcome.scalar.detach()))


def _in_graph(root: Any) -> tuple[str, str] | None:
    """Return what squashed, and which loss was given it."""
    todo, seen = [root], set[Any]()
    while todo and len(seen) < _NODES:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = node.name()
        above = [one for one, _ in node.next_functions]
        if name in _EXPECTING and above and (by := _SQUASHING.get(_name_of(_behind_shapes(above[0])))):
            return by, _EXPECTING[name]
        if name in _LIKELIHOOD and above and _name_of(_behind_shapes(above[0])) == "SoftmaxBackward0":
            return "softmax", "negative log-likelihood"
        if name == _PROBABILITIES and above and (by := _squashed_before(_behind_shapes(above[0]))):
            return by, "a sigmoid before a binary cross-entropy"
        todo += above
    return None


def _squashed_before(node: Any) -> str | None:
    """Return what squashed the input of a node that squashes itself, None for anything else."""
    if _name_of(node) not in _SQUASHING:
        return None
    return _SQUASHING.get(_name_of(_behind_shapes(node.next_functions[0][0])))


def _behind_shapes(node: Any) -> Any:
    """Return the first node that is no mere change of shape."""
    while node is not None and node.name().rstrip("0123456789").removesuffix("Backward") in _SHAPES:
        node = node.next_functions[0][0]
    return node


def _name_of(node: Any) -> str:
    return "" if node is None else str(node.name())


def _by_values(family: str, output: torch.Tensor, dimension: int) -> tuple[str, str] | None:
    rows = output.float().movedim(dimension, -1)
    if family != "softmax cross-entropy" or rows.shape[-1] < 2 or len(rows) < 2:
        return None
    inside = bool(((rows >= 0) & (rows <= 1)).all())
    if not inside or not bool(((rows.sum(-1) - 1).abs() <= _SUM).all()):
        return None
    certain = bool(((rows == 0) | (rows == 1)).all())  # a constant one-hot answer is something else
    return None if certain else ("probabilities", "cross-entropy")


def _note(noted: dict[str, torch.Tensor]) -> Any:
    def after(name: str, module: nn.Module, positional: Any, named: Any, output: Any) -> None:
        if isinstance(output, torch.Tensor):
            noted[name] = output.detach()

    return after


def _module(noted: dict[str, torch.Tensor], output: Any) -> str | None:
    if not isinstance(output, torch.Tensor):
        return None
    flat = output.detach().flatten()
    return next((name for name, own in noted.items() if torch.equal(own.flatten(), flat)), None)
