"""One batch through all members at once, for measuring."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from lrtune.data.nest import map_nest
from lrtune.population.forward import Outcome, run_batch
from lrtune.population.fused.batched import batched
from lrtune.population.fused.tape import record
from lrtune.population.fused.tapes import RECORDED_AT, Played, Tapes, Tensors, inputs_of
from lrtune.population.modes import in_mode

if TYPE_CHECKING:
    from lrtune.population.fused.stack import Stack
    from lrtune.task import Task

_METRIC = "metric "


class _Running(torch.nn.Module):
    """The task's outcome on a batch as tensors: what `vmap` can return."""

    def __init__(self, task: Task, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Any) -> dict[str, Any]:
        """Return loss, output and target where they are nests of tensors, and metrics."""
        outcome = run_batch(self._task, self.model, batch)
        metrics = {f"{_METRIC}{name}": one for name, one in outcome.metrics.items()}
        # A nest that holds anything else is left out: whoever compares finds its metrics missing.
        whole = {"output": outcome.output, "target": outcome.target}
        tensors = {name: nest for name, nest in whole.items() if _holds_tensors_only(nest)}
        return {"loss": outcome.scalar, **metrics, **tensors}


class FusedOutcomes:
    """Computes what the members make of batches that nothing is trained on.

    Args:
        task: Brings loss and metrics.
        stack: The members.
        traced: Whether to record and play.
        recorded_at: The appearance of a shape of batch at which it is recorded.
    """

    def __init__(self, task: Task, stack: Stack, traced: bool = True, recorded_at: int = RECORDED_AT) -> None:
        self._stack = stack
        self._running = _Running(task, stack.model)
        self._tapes = Tapes(recorded_at if traced else None)

    def __call__(self, varied: Tensors, batch: Any, training_mode: bool) -> dict[str, Any]:
        """Return `loss`, each `metric ...`, `[members]`, and `output` and `target`, a member in each row.

        Modes are as before afterwards.

        Args:
            varied: Copies of what the stack has under this name, which forward passes move on from batch to batch.
            batch: One for all members.
            training_mode: Whether dropout and batch statistics are those of training.
        """
        stack = self._stack
        setting = (training_mode, stack.members)
        played = self._tapes.tape_for(batch, setting, lambda: self._recorded(varied, batch, training_mode))
        if played is None:
            return self._computed(varied, batch, training_mode)
        with torch.no_grad():
            found: dict[str, Any] = played(inputs_of(stack.trained, varied, stack.shared, batch))
        return found

    def _computed(self, varied: Tensors, batch: Any, training_mode: bool) -> dict[str, Any]:
        def run(own: Tensors, other: Tensors) -> dict[str, Any]:
            named = {f"model.{name}": tensor for name, tensor in {**own, **other, **stack.shared}.items()}
            found: dict[str, Any] = functional_call(self._running, named, (batch,))
            return found

        stack = self._stack
        device = next(iter(stack.trained.values())).device
        with in_mode(stack.model, training_mode), torch.no_grad(), batched(device):
            found: dict[str, Any] = vmap(run, randomness="different")(stack.trained, varied)
        return found

    def _recorded(self, varied: Tensors, batch: Any, training_mode: bool) -> Played:
        """Record the pass over this batch, which runs it once, on copies of what it moves."""
        varied = {name: one.clone() for name, one in varied.items()}
        batch = map_nest(torch.clone, batch)
        nest: Any = None

        def run() -> list[torch.Tensor | None]:
            nonlocal nest
            leaves, nest = tree_flatten(self._computed(varied, batch, training_mode))
            return list(leaves)

        played = record(run, inputs_of(self._stack.trained, varied, self._stack.shared, batch))
        return lambda inputs: tree_unflatten(played(inputs), nest)


def outcomes_of(found: dict[str, Any], members: int) -> list[Outcome]:
    """Return each member's outcome of what `FusedOutcomes` gives."""
    return [_outcome(tree_map(itemgetter(row), found)) for row in range(members)]


def scalars_of(found: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Return the losses and metrics of what `FusedOutcomes` gives, each `[members]`, by name."""
    return {
        name.removeprefix(_METRIC): one for name, one in found.items() if name not in ("output", "target")
    }


def _holds_tensors_only(nest: Any) -> bool:
    return all(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(nest))


def _outcome(found: dict[str, Any]) -> Outcome:
    metrics = {name.removeprefix(_METRIC): one for name, one in found.items() if name.startswith(_METRIC)}
    return Outcome(found["loss"], found.get("output"), found.get("target"), metrics)
