"""What every step works with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from lrtune.data.device import resolve_device
from lrtune.data.source import open_data
from lrtune.population.optimizers import optimizer_factory
from lrtune.population.planner import Planner
from lrtune.population.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from lrtune.config import Config
    from lrtune.data.source import TaskData
    from lrtune.progress import Progress
    from lrtune.results import StepResult
    from lrtune.task import Task


@dataclass(frozen=True)
class Context:
    """A task made ready.

    Attributes:
        task: The user's task.
        config: The settings.
        program: Model, loss and optimizer on their device.
        data: The batches.
        progress: Told how far a step is.
        planner: Chooses how members are trained.
        keep: Called with what a step has so far, whenever that is worth not losing.
    """

    task: Task
    config: Config
    program: Program
    data: TaskData
    progress: Progress
    planner: Planner
    keep: Callable[[StepResult], object] = lambda result: None

    @property
    def device(self) -> torch.device:
        """Where models and data live."""
        return self.program.device


def open_context(
    task: Task,
    config: Config,
    progress: Progress,
    load: Callable[[str, str], Callable[..., Any]],
    known: Mapping[str, Any] | None = None,
    remember: Callable[[dict[str, Any]], object] = lambda known: None,
) -> Context:
    """Make a task ready: device, optimizer and data, and the check that each model is a new one.

    Args:
        task: The user's task.
        config: The settings.
        progress: Told how far the work is.
        load: Imports a function by its name, for an optimizer named in the configuration.
        known: What a planner of the same program remembered.
        remember: Called with what this one finds.

    Raises:
        ConfigError: If the device or the optimizer is not there.
        TaskError: If the model or the data cannot be used.
        UserCodeError: If the user's code raises.
    """
    device = resolve_device(config.device)
    optimizer, decays = optimizer_factory(task, config.optimizer, load)
    data = open_data(task, config.batch_size, config.seed, device, progress)
    plain = task.optimizer is None and ":" not in config.optimizer.name
    first_batch = cache(lambda: data.train.head(1, config.seed)[0])
    program = Program(task, optimizer, device, decays, plain, first_batch)
    program.check_models_are_fresh()
    planner = Planner(program, config.population, progress, known, remember)
    return Context(program.task, config, program, data, progress, planner)
