"""What the first steps of the optimizer move: real steps on a model of their own.

A few numbers of each parameter are watched, those of the largest gradients: what moves at all moves there. Where one
stands still, rounding is ruled out (steps at a rate that no rounding swallows) and so is patience (further calls of
`step` on the same gradients, for optimizers that collect several before they move, or warm up on their own).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import backward

from lrtune.errors import user_code
from lrtune.population.program import run_batch
from lrtune.probes.parameters.autograd_graph import KeptTensors, leaves_of
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from lrtune.probes.sample import Sample

_RATE = 1e-3  # the default of Adam and its kin (Kingma and Ba, 2015), at which anything in use moves
_STEPS = 3  # the second step of a warm-up that begins at zero moves
_FURTHER = 32  # calls of `step` on the same gradients; gradients are rarely collected over more batches
_WATCHED = 64  # numbers of each parameter
_MARGIN = 1e6  # roundings that plain descent should move a number by at the surer rate: clipping and damping divide it
_LARGEST_RATE = 1e12  # a gradient that needs a larger one is too small to prove anything


@dataclass(frozen=True)
class OptimizerSteps:
    """What the optimizer holds and moves.

    Attributes:
        optimizer: The class's name.
        trainable: How many parameters require a gradient.
        held: How many of these the optimizer holds.
        foreign: How many tensors it holds that are not the model's.
        left_out: Names of parameters with a gradient that the optimizer does not hold and did not move.
        still: Names of parameters that it holds, that have a gradient and did not move.
        replaced: Names of those among `still` that the forward pass replaced by another tensor, or set back.
        groups: Index of every group all of whose reached parameters stand still, with its rate.
        moving: How many parameters moved.
    """

    optimizer: str
    trainable: int
    held: int
    foreign: int
    left_out: list[str] = field(default_factory=list)
    still: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    groups: list[tuple[int, float]] = field(default_factory=list)
    moving: int = 0


def optimizer_steps(sample: Sample) -> OptimizerSteps | None:
    """Take a few steps on one batch; None where nothing has a gradient, or nothing can go wrong.

    A class of torch's own on all parameters moves them, unless the model itself interferes: a forward pass that puts
    others in their place, hooks on their gradients.
    """
    if sample.program.plain and not _model_interferes(sample):
        return None
    trial = _Trial(sample, _RATE)
    trial.run()
    if not trial.watched:
        return None
    suspects = trial.suspects()
    if suspects and (rate := trial.surer_rate(suspects)) > _RATE:
        again = _Trial(sample, rate)
        again.run()
        suspects = [name for name in suspects if name not in again.moved]
    return trial.seen(suspects)


def _model_interferes(sample: Sample) -> bool:
    model = sample.build()
    if any(one._backward_hooks or one._post_accumulate_grad_hooks for one in model.parameters()):
        return True
    before = _identities(model)
    sample.run(model, sample.batches[0], training=True, graph=True)  # reentrant checkpoints warn without one
    return _identities(model) != before


def _identities(model: torch.nn.Module) -> dict[str, tuple[int, int, float]]:
    """Return what a parameter put elsewhere, or written into, has another one of."""
    with torch.no_grad():
        return {name: (id(one), one.data_ptr(), float(one.sum())) for name, one in model.named_parameters()}


@dataclass(frozen=True)
class _Largest:
    """The places and sizes of a gradient's largest numbers."""

    indices: torch.Tensor
    values: torch.Tensor


class _Trial:
    """Steps on a fresh model at one rate."""

    def __init__(self, sample: Sample, rate: float) -> None:
        self._sample = sample
        self.model = sample.build()
        self.parameters = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.optimizer: Any = None
        self._outside = KeptTensors()  # parameters of the loss, which all models share
        if self.parameters:
            with seeded(sample.seed):
                self.optimizer = sample.program.build_optimizer(self.model, rate, 0.0)
        self.watched: dict[str, _Watched] = {}
        self._behind_zeros: list[str] = []  # reached by a gradient that a head or gate still keeps at zero
        self.moved: set[str] = set()

    def run(self) -> None:
        """Take the steps, and more of them where something has a gradient and stands still."""
        if self.optimizer is None:
            return
        self._keep_outside(one for group in self.optimizer.param_groups for one in group["params"])
        try:
            for _ in range(_STEPS):
                self._step()
                if self.moved >= set(self.watched):
                    break
            else:
                self._insist()
            self._look_after_a_forward_pass()
        finally:
            self._outside.put_back()

    def suspects(self) -> list[str]:
        """Return what has a gradient large enough to move by and does not move."""
        standing = [name for name in self.watched if name not in self.moved]
        return [name for name in standing if self.watched[name].rate_to_move() <= _LARGEST_RATE]

    def _keep_outside(self, tensors: Iterable[torch.Tensor]) -> None:
        own = set(map(id, self.model.parameters())) | set(map(id, self.parameters.values()))
        self._outside.keep(one for one in tensors if id(one) not in own)

    def _step(self) -> None:
        gradients = self._gradients()
        if not self.watched:
            reached = [n for n in self.parameters if n in gradients and bool(gradients[n].values.any())]
            self.watched = {name: _Watched(self._now(name), gradients[name]) for name in reached}
            self._behind_zeros = [n for n in self.parameters if n in gradients and n not in self.watched]
        self._call_step()

    def _gradients(self) -> dict[str, _Largest]:
        """Return each parameter's largest gradients as they arrive: hooks that run later may clear them."""
        arrived: dict[str, _Largest] = {}

        def keep(name: str) -> Any:
            return lambda gradient: arrived.__setitem__(name, _largest(gradient))

        hooks = [one.register_hook(keep(name)) for name, one in self.parameters.items()]  # type: ignore[no-untyped-call]
        try:
            self.model.train()
            with seeded(self._sample.seed), user_code("zeroing the gradients"):
                self.optimizer.zero_grad()
            with seeded(self._sample.seed):
                loss = run_batch(self._sample.program.task, self.model, self._sample.batches[0]).scalar
                self._keep_outside(leaves_of(loss))
                if loss.requires_grad:
                    with user_code("backpropagating the loss"):
                        backward(loss)
        finally:
            for hook in hooks:
                hook.remove()
        late = {n: p.grad for n, p in self.model.named_parameters() if p is not self.parameters.get(n)}
        return arrived | {name: _largest(gradient) for name, gradient in late.items() if gradient is not None}

    def _call_step(self) -> None:
        with seeded(self._sample.seed), user_code("calling the optimizer's step"):
            self.optimizer.step()
        self.moved |= {name for name, one in self.watched.items() if one.differs(self._now(name))}

    def _insist(self) -> None:
        kept = [(one, one.grad.clone()) for one in self.model.parameters() if one.grad is not None]
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
                run_batch(self._sample.program.task, self.model, self._sample.batches[0])
            self.moved = {name for name in self.moved if self.watched[name].differs(self._now(name))}

    def _now(self, name: str) -> torch.Tensor:
        return dict(self.model.named_parameters())[name].detach()

    def surer_rate(self, suspects: list[str]) -> float:
        """Return a rate at which plain gradient descent moves every suspect by several roundings."""
        needed = max(self.watched[name].rate_to_move() for name in suspects)
        return min(max(needed, _RATE), _LARGEST_RATE)

    def seen(self, suspects: list[str]) -> OptimizerSteps:
        """Return what was seen, given what did not move at any rate."""
        groups = self.optimizer.param_groups
        held = {id(parameter) for group in groups for parameter in group["params"]}
        known = {id(parameter) for parameter in self.model.parameters()} | set(
            map(id, self.parameters.values())
        )
        by_group = defaultdict(list)
        for index, group in enumerate(groups):
            names = {id(parameter): index for parameter in group["params"]}
            for name in self.watched:
                if id(self.parameters.get(name)) in names:
                    by_group[index].append(name)
        still = [name for name in suspects if id(self.parameters.get(name)) in held]
        return OptimizerSteps(
            optimizer=type(self.optimizer).__name__,
            trainable=len(self.parameters),
            held=sum(id(one) in held for one in self.parameters.values()),
            foreign=len(held - known),
            left_out=[
                name for name in (*suspects, *self._behind_zeros) if id(self.parameters.get(name)) not in held
            ],
            still=still,
            replaced=[name for name in still if self._is_replaced(name)],
            groups=[
                (index, float(groups[index]["lr"]))
                for index, names in by_group.items()
                if names and set(names) <= set(still)
            ],
            moving=len(self.watched) - len(suspects),
        )

    def _is_replaced(self, name: str) -> bool:
        return (
            self.parameters[name] is not dict(self.model.named_parameters())[name] or self.watched[name].left
        )


class _Watched:
    """The numbers of a parameter that have its largest gradients."""

    def __init__(self, parameter: torch.Tensor, largest: _Largest) -> None:
        self._indices = largest.indices
        self._gradient = largest.values.cpu().double()
        self._first = self._taken(parameter).clone()
        self.left = False

    def _taken(self, parameter: torch.Tensor) -> torch.Tensor:
        return parameter.flatten()[self._indices.to(parameter.device)]

    def differs(self, parameter: torch.Tensor) -> bool:
        """Say whether any of the numbers is another than at first; remember that one has been."""
        differs = not torch.equal(self._taken(parameter), self._first)
        self.left = self.left or differs
        return differs

    def rate_to_move(self) -> float:
        size = self._first.abs().double().cpu()
        spacing = torch.finfo(self._first.dtype).eps * size.clamp(min=torch.finfo(self._first.dtype).tiny)
        return float((_MARGIN * spacing / self._gradient.clamp(min=1e-300)).min())


def _largest(gradient: torch.Tensor) -> _Largest:
    flat = (gradient.to_dense() if gradient.is_sparse else gradient).detach().flatten().abs()
    found = flat.topk(min(_WATCHED, flat.numel()))
    return _Largest(found.indices, found.values)
