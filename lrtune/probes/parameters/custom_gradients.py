"""Backward passes that the user wrote, each against finite differences of its own forward pass.

Every call of a custom `torch.autograd.Function` is recorded while a batch goes through the model, and the function is
then called alone, in double precision, on the inputs that it met there: what stands before and after it cannot blur
the comparison, and the function at fault is known by name.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function

from lrtune.population.forward import run_batch
from lrtune.probes.model.awakened import awaken
from lrtune.probes.parameters.autograd_graph import leaves_behind, nodes_behind
from lrtune.probes.parameters.backward import backpropagate
from lrtune.probes.parameters.derivatives import Compared, compared
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.probes.sample import Sample

_CALLS = 2  # of each function that are compared
_LARGEST = 2**22  # numbers in one input; doubles of larger ones cost too much


@dataclass(frozen=True)
class FunctionGradient:
    """One input of a custom function.

    Attributes:
        function: The class.
        argument: Place of the input among the arguments of `apply`, from 1.
        compared: What comparing its gradient gave.
        parameters: Names of parameters whose gradient goes through the function.
    """

    function: str
    argument: int
    compared: Compared
    parameters: list[str] = field(default_factory=list)


@dataclass
class _Call:
    kind: type[Function]
    arguments: tuple[Any, ...]


def custom_gradients(sample: Sample) -> list[FunctionGradient] | None:
    """Compare the gradients of every custom function that the loss uses; None without one."""
    kinds = list(_custom_functions())
    if not kinds:
        return None
    model = sample.build()
    awaken(model, sample.seed)  # a function fed with zeros alone shows little
    calls = _Recorded()
    model.train()
    with calls.listening(kinds), seeded(sample.seed):
        loss = run_batch(sample.program.task, model, sample.batches[0]).scalar
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        behind = _parameters_behind(loss, names)
        backpropagate(loss, model.parameters())  # checkpoints run what they hold only now
    if not calls.calls:
        return None
    return [
        FunctionGradient(call.kind.__name__, place + 1, result, behind.get(call.kind, []))
        for call in calls.calls
        for place, result in _compared_call(call, sample.seed)
    ]


def _compared_call(call: _Call, seed: int) -> Iterator[tuple[int, Compared]]:
    for place, argument in enumerate(call.arguments):
        if isinstance(argument, torch.Tensor) and argument.requires_grad:
            with seeded(seed):
                result = compared(call.kind, call.arguments, place, seed)
            if result is not None:
                yield place, result


def _custom_functions() -> Iterator[type[Function]]:
    waiting: list[type[Function]] = [Function]
    seen: set[type] = set()
    while waiting:
        kind = waiting.pop()
        waiting += [one for one in kind.__subclasses__() if one not in seen]
        seen.add(kind)
        if kind.__module__.partition(".")[0] != "torch" and kind.forward is not Function.forward:
            yield kind


def _parameters_behind(loss: torch.Tensor, names: dict[int, str]) -> dict[type, list[str]]:
    behind: dict[type, list[str]] = {}
    if loss.grad_fn is None:
        return behind
    for node in nodes_behind([loss.grad_fn]):
        kind = getattr(type(node), "_forward_cls", None)
        if kind is not None and kind not in behind:
            reached = {id(leaf) for leaf in leaves_behind([node])}
            behind[kind] = [name for key, name in names.items() if key in reached]
    return behind


class _Recorded:
    """Calls of custom functions, with copies of what they were given."""

    def __init__(self) -> None:
        self.calls: list[_Call] = []

    @contextmanager
    def listening(self, kinds: list[type[Function]]) -> Iterator[None]:
        """Record calls in a block: `forward` is looked up at each call, wherever `apply` has been bound."""
        originals = {kind: vars(kind).get("forward") for kind in kinds}  # None where it is inherited
        for kind, forward in [(kind, kind.forward) for kind in kinds]:
            kind.forward = staticmethod(self._recording(kind, forward))  # type: ignore[method-assign]
        try:
            yield
        finally:
            for kind, original in originals.items():
                if original is None:
                    del kind.forward
                else:
                    kind.forward = original  # type: ignore[method-assign]

    def _recording(self, kind: type[Function], forward: Any) -> Any:
        # Functions with a setup_context of their own get no context in forward.
        skipped = int(kind.setup_context is Function.setup_context)

        def record(*arguments: Any, **keywords: Any) -> Any:
            if not keywords:
                self._keep(kind, arguments[skipped:])
            return forward(*arguments, **keywords)

        return record

    def _keep(self, kind: type[Function], arguments: tuple[Any, ...]) -> None:
        tensors = [one for one in arguments if isinstance(one, torch.Tensor)]
        wanted = any(one.requires_grad for one in tensors) and all(one.numel() <= _LARGEST for one in tensors)
        if wanted and sum(call.kind is kind for call in self.calls) < _CALLS:
            self.calls.append(_Call(kind, tuple(map(_copied, arguments))))


def _copied(argument: Any) -> Any:
    if not isinstance(argument, torch.Tensor):
        return argument
    return argument.detach().clone().requires_grad_(argument.requires_grad)
