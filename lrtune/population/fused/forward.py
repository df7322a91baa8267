"""One batch through all members at once, for measuring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.func import functional_call, vmap

from lrtune.population.forward import Outcome, run_batch
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
        """Return loss, output and target where they are tensors, and metrics."""
        outcome = run_batch(self._task, self.model, batch)
        found = {"loss": outcome.scalar, **{f"metric {name}": one for name, one in outcome.metrics.items()}}
        if isinstance(outcome.output, torch.Tensor):
            found["output"] = outcome.output
        if isinstance(outcome.target, torch.Tensor):
            found["target"] = outcome.target
        return found


def outcomes(task: Task, stack: Stack, batch: Any, training_mode: bool) -> list[Outcome]:
    """Return what each member makes of a batch; buffers and modes are as before afterwards."""
    running = _Running(task, stack.model)

    def run(own: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> dict[str, Any]:
        named = {f"model.{name}": tensor for name, tensor in {**own, **other, **stack.shared}.items()}
        found: dict[str, Any] = functional_call(running, named, (batch,))
        return found

    varied = (
        {name: tensor.clone() for name, tensor in stack.varied.items()} if training_mode else stack.varied
    )
    with in_mode(stack.model, training_mode), torch.no_grad():
        found = vmap(run, randomness="different")(stack.trained, varied)
    rows = ({name: one[row] for name, one in found.items()} for row in range(stack.members))
    return [_outcome(row) for row in rows]


def _outcome(found: dict[str, torch.Tensor]) -> Outcome:
    metrics = {name.removeprefix("metric "): one for name, one in found.items() if name.startswith("metric ")}
    return Outcome(found["loss"], found.get("output"), found.get("target"), metrics)
