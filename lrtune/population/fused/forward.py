"""One batch through all members at once, for measuring."""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, vmap
from torch.utils._pytree import tree_leaves, tree_map

from lrtune.population.forward import Outcome, run_batch
from lrtune.population.fused.batched import batched
from lrtune.population.modes import in_mode

if TYPE_CHECKING:
    from lrtune.population.fused.stack import Stack
    from lrtune.task import Task


class _Running(torch.nn.Module):
    """The task's outcome on a batch as tensors: what `vmap` can return."""

    def __init__(self, task: Task, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model
        self._task = task

    def forward(self, batch: Any) -> dict[str, Any]:
        """Return loss, output and target where they are nests of tensors, and metrics."""
        outcome = run_batch(self._task, self.model, batch)
        found = {"loss": outcome.scalar, **{f"metric {name}": one for name, one in outcome.metrics.items()}}
        # A nest that holds anything else is left out: whoever compares finds its metrics missing.
        whole = {"output": outcome.output, "target": outcome.target}
        return found | {name: nest for name, nest in whole.items() if _holds_tensors_only(nest)}


def outcomes(
    task: Task, stack: Stack, varied: dict[str, torch.Tensor], batch: Any, training_mode: bool
) -> list[Outcome]:
    """Return what each member makes of a batch; modes are as before afterwards.

    Args:
        task: Brings loss and metrics.
        stack: The members.
        varied: Copies of what the stack has under this name, which forward passes move on from batch to batch.
        batch: One for all members.
        training_mode: Whether dropout and batch statistics are those of training.
    """
    running = _Running(task, stack.model)

    def run(own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, Any]:
        named = {f"model.{name}": tensor for name, tensor in {**own, **other, **stack.shared}.items()}
        found: dict[str, Any] = functional_call(running, named, (batch,))
        return found

    device = next(iter(stack.trained.values())).device
    with in_mode(stack.model, training_mode), torch.no_grad(), batched(device):
        found = vmap(run, randomness="different")(stack.trained, varied)
    return [_outcome(tree_map(itemgetter(row), found)) for row in range(stack.members)]


def _holds_tensors_only(nest: Any) -> bool:
    return all(isinstance(leaf, torch.Tensor) for leaf in tree_leaves(nest))


def _outcome(found: dict[str, Any]) -> Outcome:
    metrics = {name.removeprefix("metric "): one for name, one in found.items() if name.startswith("metric ")}
    return Outcome(found["loss"], found.get("output"), found.get("target"), metrics)
