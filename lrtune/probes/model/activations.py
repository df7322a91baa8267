"""Which units of the untrained model stand still: activations that are flat for every example.

Activations are seen where torch computes them, below modules and functions alike, so that `nn.ReLU`, `F.relu`,
`tensor.clamp(min=0)` and the gates of a decomposed GRU all count. Fused kernels of recurrent layers on a GPU cannot
be seen.
"""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lrtune.data.nest import example_count, tensors_of
from lrtune.probes.model.flat_parts import flat_part
from lrtune.probes.model.hooks import hooked

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from lrtune.probes.model.flat_parts import Flat, Kind
    from lrtune.probes.sample import Sample

_EXAMPLES = 256  # a unit that is silent for so many is active for fewer than 1.2% (95% confidence: 3/n)
_CALLS = 64  # of one activation within a module: a recurrence unrolled further adds nothing


@dataclass(frozen=True)
class Activation:
    """One place in the model where an activation is computed.

    Attributes:
        place: The module, such as "net.3 (ReLU)" or "relu in blocks.2 (Block)".
        kind: `dead` for activations of the ReLU family, which are flat on the side of the off, else `saturated`.
        units: How many units it has: channels of an image, else the last dimension.
        stuck: The share of units that are flat for every example seen.
        flat: The share of all values seen that are on a flat part.
        low: The share of all values that are on the flat part below zero.
        output: Whether this is what the model returns.
    """

    place: str
    kind: Kind
    units: int
    stuck: float
    flat: float
    low: float
    output: bool


@dataclass(frozen=True)
class Activations:
    """All of a model's activations.

    Attributes:
        examples: How many were sent through.
        pretrained: Whether the task says that the weights are trained.
        seen: In the order of the forward pass.
    """

    examples: int
    pretrained: bool
    seen: list[Activation]


def activations(sample: Sample) -> Activations | None:
    """Send a few batches through the awakened model in training mode, and count what is flat at each activation.

    Returns:
        None where the model computes no activation that has a flat part.
    """
    model = sample.awake
    watch = _Watch()
    examples = 0
    fused = any(isinstance(module, nn.LSTM) for module in model.modules())
    with _without_onednn() if fused else nullcontext(), watch.modules(model), watch:
        for batch in sample.batches:
            watch.next_batch()
            outcome = sample.run(model, batch, training=True)
            watch.mark(outcome.output)
            examples += example_count(batch)
            if examples >= _EXAMPLES:
                break
    seen = [tally.told() for tally in watch.tallies.values() if tally.values]
    return Activations(examples, sample.program.task.pretrained, seen) if seen else None


@contextmanager
def _without_onednn() -> Iterator[None]:
    """Compute without oneDNN, which runs an LSTM as one operation and so hides its gates."""
    before = torch.backends.mkldnn.enabled
    torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.backends.mkldnn.enabled = before


class _Tally:
    """Counters of one activation over the batches."""

    def __init__(self, place: str, kind: Kind) -> None:
        self.place, self.kind = place, kind
        self.values, self.flat, self.low, self.output = 0, 0, 0, False
        self._stuck: dict[int, torch.Tensor | None] = {}  # by dimension; None once its size has changed

    def add(self, flat: torch.Tensor, low: torch.Tensor) -> None:
        """Count a batch's values.

        Args:
            flat: Whether each value is on a flat part, `[batch, ...]`.
            low: The same of the part below zero.
        """
        self.low += int(low.sum())
        self.values += flat.numel()
        self.flat += int(flat.sum())
        # Images have their channels second, sequences last; a slice of the other dimension is never stuck as a whole
        # unless it is masked.
        for dimension in {1, flat.ndim - 1}:
            others = [index for index in range(flat.ndim) if index != dimension]
            now = flat
            for index in reversed(others):
                now = now.all(index)
            before = self._stuck.get(dimension, now)
            same = before is not None and before.shape == now.shape
            self._stuck[dimension] = before & now if same and before is not None else None

    def told(self) -> Activation:
        known = [stuck for stuck in self._stuck.values() if stuck is not None and stuck.numel()]
        stuck = max(known, key=lambda one: float(one.float().mean()), default=torch.zeros(1))
        share = int(stuck.sum()) / stuck.numel()
        return Activation(
            self.place,
            self.kind,
            stuck.numel(),
            share,
            self.flat / self.values,
            self.low / self.values,
            self.output,
        )


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sees every operation of the forward pass, and knows in which module it runs."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tallies: dict[tuple[str, str, int], _Tally] = {}
        self._stack: list[tuple[str, nn.Module]] = []
        self._calls: Counter[tuple[str, str]] = Counter()
        self._last: tuple[_Tally, torch.Tensor] | None = None  # kept, so that nothing else takes its memory

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Nothing here is compiled; torch would load its compiler, which takes seconds, only to leave this class out.
        return False

    def next_batch(self) -> None:
        """Count calls from the beginning."""
        self._calls.clear()
        self._stack.clear()

    def mark(self, output: Any) -> None:
        """Note whether the last activation's result is the model's output or a view of it: they share memory."""
        if self._last is not None:
            tally, result = self._last
            tally.output |= result.data_ptr() in {tensor.data_ptr() for tensor in tensors_of(output)}
        self._last = None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        flat = self._flat(name, args, kwargs or {})  # before the operation, which may be in place
        result = func(*args, **kwargs or {})
        if flat is not None:
            self._count(name, flat, result)
        return result

    def _flat(self, name: str, args: Any, kwargs: Any) -> Flat | None:
        values = args[0] if args else None
        if not self._stack or not isinstance(
            values, torch.Tensor
        ):  # outside of the model, such as in the loss
            return None
        usable = values.is_floating_point() and values.layout == torch.strided
        return flat_part(name, *args, **kwargs) if usable and values.ndim >= 2 and values.numel() else None

    def _count(self, name: str, flat: Flat, result: torch.Tensor) -> None:
        path, module = self._stack[-1]
        number = self._calls[path, name]
        self._calls[path, name] += 1
        if number >= _CALLS:
            return
        if (path, name, number) not in self.tallies:
            self.tallies[path, name, number] = _Tally(_place(path, module, name), flat.kind)
        tally = self.tallies[path, name, number]
        tally.add(flat.where, flat.low)
        self._last = tally, result

    def modules(self, model: nn.Module) -> AbstractContextManager[None]:
        """Follow which module is running."""
        return hooked(model, pre=self._enter, post=self._leave)

    def _enter(self, path: str, module: nn.Module, *_: Any) -> None:
        self._stack.append((path, module))

    def _leave(self, path: str, module: nn.Module, inputs: Any, named: dict[str, Any], output: Any) -> None:
        given = inputs or tuple(named.values())
        if isinstance(module, nn.Softsign) and (flat := self._flat("softsign", given, {})):  # made of others
            self._count("softsign", flat, output)
        self._stack.pop()


def _place(path: str, module: nn.Module, name: str) -> str:
    kind = type(module).__name__
    where = f"{path} ({kind})" if path else kind
    leaf = next(module.children(), None) is None and next(module.parameters(), None) is None
    return where if leaf else f"{name} in {where}"
