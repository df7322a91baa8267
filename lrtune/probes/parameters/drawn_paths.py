"""Parameters that shape what a model draws, but do not hear of what comes of it.

Kingma and Welling, "Auto-Encoding Variational Bayes" (2014), draw mean + deviation · noise, through which the gradient
of the reconstruction reaches the encoder: `rsample()`. Behind `sample()` only the divergence's gradient is left, which
is the same whatever was drawn. A gradient by the draw's own log-likelihood (Williams, 1992) changes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.overrides import TorchFunctionMode

from lrtune.population.forward import run_batch
from lrtune.probes.model.quiet import DropoutCalls, without_dropout
from lrtune.probes.parameters.autograd_graph import leaves_of
from lrtune.probes.parameters.backward import backpropagate, dense
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lrtune.probes.sample import Sample

_SAME = 1e-6  # relative: what float32 and the order of sums leave between equal gradients
_SCATTER = 1e-4  # relative: below it the loss does not depend on what is drawn


@dataclass(frozen=True)
class DrawnPath:
    """Parameters from which something is drawn.

    Attributes:
        deaf: Names of those whose gradient is the same whatever was drawn.
        heard: How many others there are.
    """

    deaf: list[str]
    heard: int


class _Draws(TorchFunctionMode):
    """Keeps what numbers are drawn around without a gradient, where they would have had one."""

    def __init__(self) -> None:
        super().__init__()
        self.origins: list[torch.Tensor] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Look at a call of torch and let it pass."""
        named = dict(kwargs or {})
        if func is torch.normal and not torch.is_grad_enabled():
            for one in [*args, *named.values()]:
                if isinstance(one, torch.Tensor):
                    origin = one if one._base is None else one._base
                    self.origins += [origin] if origin.requires_grad else []
        return func(*args, **named)


def drawn_path(sample: Sample) -> DrawnPath | None:
    """Compare the gradients of two draws; None where nothing is drawn from trained parameters without a gradient."""
    first, names = _gradients(sample, sample.seed)
    if not names:
        return None
    second, _ = _gradients(sample, sample.seed + 1)
    losses = first.pop(""), second.pop("")
    if float((losses[0] - losses[1]).abs()) <= _SCATTER * float(losses[0].abs()):
        return None
    known = [name for name in names if name in first and bool(first[name].any())]
    deaf = [name for name in known if name in second and _same(first[name], second[name])]
    return DrawnPath(deaf, len(known) - len(deaf))


def _same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return float((one - other).abs().max()) <= _SAME * float(one.abs().max())


def _gradients(sample: Sample, seed: int) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Return gradients by name, the loss under "", and the names of the parameters that something was drawn from."""
    model = without_dropout(sample.build()).train()
    with seeded(seed), DropoutCalls(model, off=True), _Draws() as draws:
        outcome = run_batch(sample.program.task, model, sample.batches[0])
    behind = {id(leaf) for origin in draws.origins for leaf in leaves_of(origin)}
    parameters = dict(model.named_parameters())
    names = [name for name, one in parameters.items() if id(one) in behind]
    if names:
        backpropagate(outcome.scalar, list(parameters.values()))
    found = {name: dense(one.grad) for name, one in parameters.items() if one.grad is not None}
    return found | {"": outcome.scalar.detach()}, names
