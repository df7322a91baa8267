"""How large the first gradient is at each layer, from the input's side to the output's.

Norms of gradients alone tell little: they differ with a layer's width and its weights' scale. What a layer could do to
the loss by changing by its own size, ||dL/dW|| ||W||, is free of both; in a homogeneous network it is the same at all
layers (Du, Hu and Lee, "Algorithmic Regularization in Learning Deep Homogeneous Models", 2018).
"""

from __future__ import annotations

import math
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lrtune.data.nest import example_count
from lrtune.population.forward import Outcome, run_batch
from lrtune.population.modes import in_mode
from lrtune.probes.losses.expectation import expectation
from lrtune.probes.model.hooks import hooked
from lrtune.probes.parameters.backward import backpropagate, dense
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

    from lrtune.probes.sample import Sample

_STEPS = {
    f"{name}Backward0": name.lower() for name in ("Round", "Floor", "Ceil", "Trunc", "Sign", "Heaviside")
}  # torch gives them a derivative of 0
_NODES = 100_000  # of a graph that are looked at
_FAR = 10.0  # times the output: then the distance is that of the targets


@dataclass(frozen=True)
class Layer:
    """A weight of two or more dimensions.

    Attributes:
        name: Of the parameter.
        weight: Its norm.
        gradient: The norm of the loss's gradient with respect to it.
    """

    name: str
    weight: float
    gradient: float

    @property
    def effect(self) -> float:
        """How much the loss changes, to first order and at most, when the weight changes by its own size."""
        return self.weight * self.gradient


@dataclass(frozen=True)
class GradientFlow:
    """The gradients of one batch's loss.

    Attributes:
        layers: The weights that it reaches, in the order in which the model uses them; tables of embeddings left out.
        output: The norm of the gradient with respect to the model's output, or where a step hands out none the largest
            of a bias; None without either.
        examples: Of the batch.
        loss_scale: What the loss is measured by: its value for an output that knows nothing, at least 1.
        zero: Names of the parameters whose every gradient is exactly 0.
        steps: Operations on the way whose derivative is 0 everywhere, such as a rounding, by their nodes' names.
    """

    layers: list[Layer]
    output: float | None
    examples: int
    loss_scale: float
    zero: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()


def awake_gradient_flow(sample: Sample) -> GradientFlow | None:
    """Return the gradients of the awakened model: zeros that open in the first steps hide nothing there."""
    return _flow(sample, sample.awake)


def first_gradient_flow(sample: Sample) -> GradientFlow | None:
    """Return the gradients of the first training step; branches that begin at zero add nothing to them yet."""
    return _flow(sample, sample.model)


def _flow(sample: Sample, model: nn.Module) -> GradientFlow | None:
    """Backpropagate the first batch through a model, which keeps no gradient.

    Returns:
        None where no weight gets a gradient other than zero, or one is not finite: other checks look at that.

    Raises:
        UserCodeError: If the user's code or a backward pass of theirs raises.
    """
    batch = sample.batches[0]
    order: dict[nn.Module, int] = {}
    norms: dict[Tensor, float] = {}
    above: list[float] = []
    with seeded(sample.seed), in_mode(model, training=True), _call_order(model, order), _norms(model, norms):
        outcome = run_batch(sample.program.task, model, batch)
        if not outcome.scalar.requires_grad:
            return None
        if isinstance(outcome.output, torch.Tensor) and outcome.output.requires_grad:
            outcome.output.register_hook(  # type: ignore[no-untyped-call]
                lambda gradient: above.append(_norm(gradient))
            )
        steps = _steps(outcome.loss.grad_fn)
        backpropagate(outcome.scalar, model.parameters())
    layers = _layers(model, order, norms)
    if not layers or not all(map(math.isfinite, norms.values())):
        return None
    if not above:
        above = [norms.get(one, 0.0) for name, one in model.named_parameters() if "bias" in name]
    output = max(above, default=None)
    return GradientFlow(
        layers,
        output,
        example_count(batch),
        _loss_scale(sample, outcome, output),
        zero=tuple(name for name, one in model.named_parameters() if norms.get(one) == 0),
        steps=steps,
    )


def _steps(root: Any) -> tuple[str, ...]:
    """Return which operations of a graph are steps; one whose result is detached is not in the graph."""
    todo, seen, found = [root], set[Any](), dict[str, None]()
    while todo and len(seen) < _NODES:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.name() in _STEPS:
            found[_STEPS[node.name()]] = None
        todo += [one for one, _ in node.next_functions]
    return tuple(found)


def _layers(model: nn.Module, order: dict[nn.Module, int], norms: dict[Tensor, float]) -> list[Layer]:
    # Tables stand beside each other and beside other inputs at the entrance: one that matters little is no fading.
    tables = {id(one.weight) for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)}
    modules = dict(model.named_modules(remove_duplicate=False))  # TorchScript has no get_submodule
    placed = []
    for name, parameter in model.named_parameters():
        if parameter.ndim >= 2 and norms.get(parameter) and id(parameter) not in tables:
            placed.append((_place(modules, name, order), Layer(name, _norm(parameter), norms[parameter])))
    return [layer for _, layer in sorted(placed, key=lambda pair: pair[0])]  # stable: else as registered


def _place(modules: dict[str, nn.Module], name: str, order: dict[nn.Module, int]) -> int:
    """Return when the parameter's module is called, or the nearest around it: a functional forward calls none."""
    path, place = name.split(".")[:-1], 0
    for depth in range(len(path) + 1):
        place = order.get(modules[".".join(path[:depth])], place)
    return place


def _call_order(model: nn.Module, order: dict[nn.Module, int]) -> AbstractContextManager[None]:
    """Number the modules in the order of their first calls."""

    def called(_: str, module: nn.Module, *__: Any) -> None:
        order.setdefault(module, len(order))

    return hooked(model, pre=called)


@contextmanager
def _norms(model: nn.Module, norms: dict[Tensor, float]) -> Iterator[None]:
    """Take the norm of each gradient as soon as it is there, and free it."""

    def arrived(parameter: Tensor) -> None:
        if parameter.grad is not None:
            # Reentrant checkpoints bring a shared weight's gradient in parts.
            norms[parameter] = math.hypot(norms.get(parameter, 0.0), _norm(parameter.grad))
            parameter.grad = None

    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    trainable = [parameter for parameter, _ in before if parameter.requires_grad]
    with ExitStack() as handles:
        for parameter, gradient in before:
            handles.callback(setattr, parameter, "grad", gradient)
        for parameter in trainable:
            handle = parameter.register_post_accumulate_grad_hook(arrived)  # type: ignore[no-untyped-call]
            handles.callback(handle.remove)
            parameter.grad = None
        yield


def _norm(tensor: Tensor) -> float:
    """Return the Euclidean norm, also where the squares would overflow."""
    values = dense(tensor.detach()).abs().float()
    largest = float(values.max()) if values.numel() else 0.0
    if largest == 0 or not math.isfinite(largest):
        return largest
    return largest * float(torch.linalg.vector_norm(values / largest))


def _loss_scale(sample: Sample, outcome: Outcome, slope: float | None) -> float:
    """Return what this loss is for a model that knows nothing, at least 1: targets in dollars have large losses."""
    task = sample.program.task
    if task.expected_initial_loss is not None:
        return max(1.0, abs(task.expected_initial_loss))
    count = example_count(sample.batches[0])
    output = outcome.output.detach() if isinstance(outcome.output, torch.Tensor) else None
    if sample.family is not None:
        theory = expectation(sample.family, task.loss, [(output, outcome.target)], [count])
        return 1.0 if theory is None else max(1.0, abs(theory.high))
    if not slope:
        return 1.0
    # How far the output is from where an unknown loss vanishes, by Newton; the loss is quadratic in that at most.
    distance: float = abs(float(outcome.scalar.detach())) / (slope * count**0.5)
    if output is not None and _norm(output) / count**0.5 > distance / _FAR:
        return 1.0  # far because the output is large, not the target
    return max(1.0, distance * distance)
