"""Trainable tensors that the loss depends on and nothing trains: no module and no optimizer knows them.

The loss's graph says what it was computed from, wherever that is kept. A tensor that is made anew in each forward pass
(an input whose gradient is taken, a hidden state) is none of these, nor is one of the batch; a layer that is built anew
in each pass is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from lrtune.data.nest import tensors_of
from lrtune.errors import LrtuneError
from lrtune.population.forward import run_batch
from lrtune.population.outside import KeptTensors, modules_of
from lrtune.probes.parameters.autograd_graph import is_python_node, leaves_of, nodes_behind
from lrtune.probes.parameters.backward import backpropagate
from lrtune.probes.parameters.built_layers import anew, building
from lrtune.probes.parameters.hidden_tensors import Hidden, hidden_tensors
from lrtune.random_state import seeded

if TYPE_CHECKING:
    from lrtune.probes.sample import Sample

_PASSES = 2  # a tensor that two passes share was not made by either


@dataclass(frozen=True)
class Unregistered:
    """What the loss depends on besides the model's parameters and the optimizer's.

    Attributes:
        paths: Where such tensors lie in the model.
        places: The attribute that hides each, what it holds (`list`, `dict`, `tensor`, …) and whether modules lie in
            it; each once.
        elsewhere: Shapes of trainable parameters that lie outside the model.
        of_loss: Names of parameters of the loss, or of modules that loss or step use.
        numbers: How many numbers all these hold.
        anew: Layers that every pass builds anew, each with the line that does so.
    """

    paths: list[str] = field(default_factory=list)
    places: list[tuple[str, str, bool]] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    of_loss: list[str] = field(default_factory=list)
    numbers: int = 0
    anew: list[str] = field(default_factory=list)


def unregistered(sample: Sample) -> Unregistered | None:
    """Run two batches through a fresh model and look for leaves that nothing trains."""
    model = sample.build()
    hidden = hidden_tensors(model)
    held = {id(parameter) for parameter in model.parameters()} | _held(sample, model)
    held |= {
        id(leaf) for batch in sample.batches for tensor in tensors_of(batch) for leaf in leaves_of(tensor)
    }
    with building() as built:
        passes = [_reached(sample, model, index, hidden) for index in range(_PASSES)]
    if not any(passes):
        return None
    lasting = {key: tensor for key, tensor in passes[0].items() if key in passes[1]}
    # A layer that only one of the batches takes; what the model has put in place of it since was a state.
    once = {k: leaf for one in passes for k, leaf in one.items() if k in hidden and k not in lasting}
    if once:
        still_there = hidden_tensors(model)
        lasting |= {key: leaf for key, leaf in once.items() if key in still_there}
    seen = _sorted({key: leaf for key, leaf in lasting.items() if key not in held}, hidden, sample)
    held |= set(lasting) | {id(parameter) for parameter in model.parameters()}
    return replace(seen, anew=anew(built, passes, held))


def _held(sample: Sample, model: nn.Module) -> set[int]:
    if sample.program.plain:
        return set()
    with suppress(
        LrtuneError
    ):  # nothing registered: no optimizer can be built, which is no reason to look away
        with seeded(sample.seed):
            optimizer = sample.program.build_optimizer(model, 1e-3, 0.0)
        return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    return set()


def _reached(
    sample: Sample, model: nn.Module, index: int, hidden: dict[int, Hidden]
) -> dict[int, torch.Tensor]:
    """Return the leaves of a batch's loss, but for plain tensors whose gradient the loss itself takes."""
    model.train()
    with seeded(sample.seed):
        loss = run_batch(sample.program.task, model, sample.batches[index % len(sample.batches)]).loss
    nodes = list(nodes_behind([loss.grad_fn]))
    reached = {id(node.variable): node.variable for node in nodes if hasattr(node, "variable")}
    if hidden and any(map(is_python_node, nodes)):
        kept = KeptTensors()
        kept.keep(one.tensor for one in hidden.values())  # also those behind such a node
        with seeded(sample.seed):
            backpropagate(loss.sum(), (), kept)
        reached |= {key: one.tensor for key, one in hidden.items() if one.tensor.grad is not None}
        kept.put_back()
    if any("BackwardBackward" in node.name() for node in nodes):  # coordinates of a differential equation
        return {key: leaf for key, leaf in reached.items() if isinstance(leaf, nn.Parameter)}
    return reached


def _sorted(leaves: dict[int, torch.Tensor], hidden: dict[int, Hidden], sample: Sample) -> Unregistered:
    task = sample.program.task
    of_loss: dict[int, tuple[str, nn.Module]] = {}
    # On an accelerator the loss is a copy, and the optimizer may well hold the parameters that it was copied from.
    functions = (task.loss, task.step) if sample.program.device.type == "cpu" else (task.step,)
    for module in (one for function in functions for one in modules_of(function)):
        for name, part in module.named_modules(prefix=type(module).__name__):
            for own, parameter in part.named_parameters(recurse=False):
                of_loss.setdefault(id(parameter), (f"{name}.{own}", part))
    # A network in evaluation mode judges and is not meant to learn: features for a perceptual loss, a teacher, which
    # models hide in a list on purpose.
    inside = [one for key, one in hidden.items() if key in leaves and one.training]
    beside = {
        k: leaf for k, leaf in leaves.items() if k in of_loss and of_loss[k][1].training and k not in hidden
    }
    rest = {k: leaf for k, leaf in leaves.items() if k not in hidden and k not in of_loss}
    parameters = {key: leaf for key, leaf in rest.items() if isinstance(leaf, nn.Parameter)}
    told = [one.tensor for one in inside] + list(beside.values()) + list(parameters.values())
    return Unregistered(
        [one.path for one in inside],
        list(dict.fromkeys((one.place, one.kind, one.in_module) for one in inside)),
        [str(list(leaf.shape)) for leaf in parameters.values()],
        [of_loss[key][0] for key in beside],
        sum(tensor.numel() for tensor in told),
    )
