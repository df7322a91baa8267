"""A few steps of the optimizer on a model of their own, and what moves."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from lrtune.errors import user_code
from lrtune.population.forward import run_batch
from lrtune.population.outside import KeptTensors
from lrtune.probes.parameters.backward import backpropagate
from lrtune.probes.parameters.watched_numbers import Largest, Watched, largest_of
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from lrtune.probes.sample import Sample

_STEPS = 3  # the second step of a warm-up that begins at zero moves
_FURTHER = 32  # calls of `step` on the same gradients; gradients are rarely collected over more batches
_LARGEST_RATE = 1e12  # a gradient that needs a larger one is too small to prove anything


@dataclass(frozen=True)
class Held:
    """What is known of an optimizer and its model without either.

    Attributes:
        optimizer: The class's name.
        trainable: How many parameters require a gradient.
        names: Of those that the optimizer holds.
        foreign: How many tensors it holds that are not the model's.
        replaced: Names of parameters that the forward pass replaced by another tensor, or set back.
        groups: Of each group the rate and the names of its watched parameters.
    """

    optimizer: str
    trainable: int
    names: set[str]
    foreign: int
    replaced: set[str]
    groups: list[tuple[float, set[str]]]


class Trial:
    """Steps on a fresh model at one rate.

    Args:
        sample: What to train on.
        rate: Of learning.

    Attributes:
        held: What is known of the optimizer after a run, None before one and where nothing can be trained.
        watched: The numbers that are looked at, of every parameter with a gradient.
        behind_zeros: Names of parameters reached by a gradient that a head or gate still keeps at zero.
        moved: Names of parameters that moved.
    """

    def __init__(self, sample: Sample, rate: float) -> None:
        self._sample, self._rate = sample, rate
        self._model = sample.build()
        self._parameters = {n: p for n, p in self._model.named_parameters() if p.requires_grad}
        self._optimizer: Any = None
        self._outside = KeptTensors()  # parameters of the loss, which all models share
        if self._parameters:
            with seeded(sample.seed):
                self._optimizer = sample.program.build_optimizer(self._model, rate, 0.0)
        self.held: Held | None = None
        self.watched: dict[str, Watched] = {}
        self.behind_zeros: list[str] = []
        self.moved: set[str] = set()

    def run(self) -> None:
        """Take the steps, and more of them where something has a gradient and stands still."""
        if self._optimizer is None:
            return
        own = set(map(id, self._own()))
        held = (one for group in self._optimizer.param_groups for one in group["params"])
        self._outside.keep(one for one in held if id(one) not in own)
        try:
            for _ in range(_STEPS):
                self._step()
                if self.moved >= set(self.watched):
                    break
            else:
                self._insist()
            self._look_after_a_forward_pass()
            self.held = self._what_is_held()
        finally:
            self._outside.put_back()

    def free(self) -> None:
        """Let go of the model and all that is as large, so that another has room."""
        self._model, self._parameters, self._optimizer = torch.nn.Module(), {}, None

    def suspects(self) -> list[str]:
        """Return what has a gradient large enough to move by and does not move."""
        standing = [name for name in self.watched if name not in self.moved]
        return [name for name in standing if self.watched[name].rate_to_move() <= _LARGEST_RATE]

    def _own(self) -> Iterator[torch.Tensor]:
        yield from self._model.parameters()
        yield from self._parameters.values()  # what the forward pass may have put others in place of

    def _step(self) -> None:
        gradients = self._gradients()
        if not self.watched:
            reached = [n for n in self._parameters if n in gradients and bool(gradients[n].values.any())]
            self.watched = {name: Watched(self._now(name), gradients[name]) for name in reached}
            self.behind_zeros = [n for n in self._parameters if n in gradients and n not in self.watched]
        self._call_step()

    def _gradients(self) -> dict[str, Largest]:
        """Return each parameter's largest gradients as they arrive: hooks that run later may clear them."""
        arrived: dict[str, Largest] = {}

        def keep(name: str) -> Any:
            return lambda gradient: arrived.__setitem__(name, largest_of(gradient))

        with ExitStack() as hooks:
            for name, one in self._parameters.items():
                hooks.callback(one.register_hook(keep(name)).remove)  # type: ignore[no-untyped-call]
            self._model.train()
            with seeded(self._sample.seed), user_code("zeroing the gradients"):
                self._optimizer.zero_grad()
            with seeded(self._sample.seed):
                loss = run_batch(self._sample.program.task, self._model, self._sample.batches[0]).scalar
                backpropagate(loss, self._own(), self._outside)
        late = {n: p.grad for n, p in self._model.named_parameters() if p is not self._parameters.get(n)}
        return arrived | {
            name: largest_of(gradient) for name, gradient in late.items() if gradient is not None
        }

    def _call_step(self) -> None:
        with seeded(self._sample.seed), user_code("calling the optimizer's step"):
            self._optimizer.step()
        self.moved |= {name for name, one in self.watched.items() if one.differs(self._now(name))}

    def _insist(self) -> None:
        kept = [(one, one.grad) for one in self._model.parameters() if one.grad is not None]
        for _ in range(_FURTHER):
            for parameter, gradient in kept:
                parameter.grad = gradient.clone()
            self._call_step()
            if self.moved >= set(self.watched):
                return

    def _look_after_a_forward_pass(self) -> None:
        """Whatever the forward pass sets back has not moved."""
        if self.moved:
            with seeded(self._sample.seed):  # with a graph: a loss may take gradients of its own
                run_batch(self._sample.program.task, self._model, self._sample.batches[0])
            self.moved = {name for name in self.moved if self.watched[name].differs(self._now(name))}

    def _now(self, name: str) -> torch.Tensor:
        return self._found(name).detach()

    def _found(self, name: str) -> torch.nn.Parameter:
        """Return what has a parameter's name now: a forward pass may put others in place of it, or take it away."""
        return dict(self._model.named_parameters()).get(name, self._parameters[name])

    def surer_rate(self, suspects: list[str]) -> float:
        """Return a rate at which plain gradient descent moves every suspect by several roundings."""
        needed = max(self.watched[name].rate_to_move() for name in suspects)
        return min(max(needed, self._rate), _LARGEST_RATE)

    def _what_is_held(self) -> Held:
        groups = self._optimizer.param_groups
        held = {id(one) for group in groups for one in group["params"]}
        identity = {name: id(one) for name, one in self._parameters.items()}
        return Held(
            type(self._optimizer).__name__,
            len(identity),
            {name for name, key in identity.items() if key in held},
            len(held - set(map(id, self._own()))),
            {name for name, one in self.watched.items() if one.left or self._is_replaced(name)},
            [(float(group["lr"]), self._watched_of(group)) for group in groups],
        )

    def _watched_of(self, group: dict[str, Any]) -> set[str]:
        keys = {id(one) for one in group["params"]}
        return {name for name in self.watched if id(self._parameters[name]) in keys}

    def _is_replaced(self, name: str) -> bool:
        return self._parameters[name] is not self._found(name)
