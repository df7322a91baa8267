"""What every step works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from lrtune.data.device import resolve_device
from lrtune.data.source import open_data
from lrtune.population.optimizers import optimizer_factory
from lrtune.population.planner import Planner
from lrtune.population.program import Program
from lrtune.population.sharded.pool import WorkerPool
from lrtune.progress import OwnProcess
from lrtune.steps.weights import BestWeights

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

    from lrtune.config import Config, PopulationConfig
    from lrtune.data.source import TaskData
    from lrtune.population.told import Told
    from lrtune.progress import Progress
    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir
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
        pool: Worker processes for it; None where one process does all.
        keep: Called with what a step has so far, whenever that is worth not losing.
        weights: Keeps those of the best trial, where they are wanted.
        files: Where curves are written as soon as they are there; None where nothing is.
    """

    task: Task
    config: Config
    program: Program
    data: TaskData
    progress: Progress
    planner: Planner
    pool: WorkerPool | None = None
    keep: Callable[[StepResult], object] = lambda result: None
    weights: BestWeights = field(default_factory=BestWeights)
    files: RunDir | None = None

    @property
    def device(self) -> torch.device:
        """Where models and data live."""
        return self.program.device

    def open(self) -> None:
        """Have worker processes ready to be started; nothing where that is done, or where there are to be none."""
        if self.pool is not None:
            self.pool.open()

    def close(self) -> None:
        """End all worker processes; `open` begins anew."""
        if self.pool is not None:
            self.pool.close()


def open_context(
    task: Task,
    config: Config,
    progress: Progress,
    load: Callable[[str, str], Callable[..., Any]],
    known: Mapping[str, Any] | None = None,
    remember: Callable[[dict[str, Any]], object] = lambda known: None,
    *,
    told: Told | None = None,
) -> Context:
    """Make a task ready: device, optimizer and data, and the check that each model is a new one.

    Worker processes may have been started; whoever is done with the context closes it.

    Args:
        task: The user's task.
        config: The settings.
        progress: Told how far the work is.
        load: Imports a function by its name, for an optimizer named in the configuration.
        known: What a planner of the same program remembered.
        remember: Called with what this one finds.
        told: Tells a person how members are trained, and keeps the reasons.

    Raises:
        ConfigError: If the device or the optimizer is not there.
        TaskError: If the model or the data cannot be used.
        UserCodeError: If the user's code raises.
    """
    device = resolve_device(config.device)
    optimizer, decays = optimizer_factory(task, config.optimizer, load)
    data = open_data(task, config.batch_size, config.seed, device, OwnProcess(progress))
    plain = task.optimizer is None and ":" not in config.optimizer.name
    first_batch = cache(lambda: data.train.head(1, config.seed)[0])
    program = Program(task, optimizer, device, decays, plain, first_batch, config.precision)
    program.check_models_are_fresh()
    pool = _pool(program, data, config.population)
    planner = Planner(program, config.population, progress, known, remember, pool, told)
    context = Context(program.task, config, program, data, progress, planner, pool)
    context.open()
    return context


def _pool(program: Program, data: TaskData, settings: PopulationConfig) -> WorkerPool | None:
    """Return where worker processes come from, None where they are not wanted or one core cannot gain from them."""
    wanted = settings.execution == "sharded"
    if not wanted and (settings.execution != "auto" or program.device.type != "cpu"):
        return None
    pool = WorkerPool(_parts(program, data), program.device, settings.workers)
    return pool if pool.size > 1 or wanted else None


def _parts(program: Program, data: TaskData) -> dict[str, Any]:
    """Return by name what worker processes have from the start: nothing of it is sent to them."""
    task = program.task
    names = ("model", "train", "val", "loss", "step", "optimizer")
    parts = {name: getattr(task, name) for name in names}
    parts = {f"Task.{name}": part for name, part in parts.items() if part is not None}
    parts |= {f"Task.metrics[{name!r}]": metric for name, metric in task.metrics.items()}
    parts |= {"first batch": program.first_batch, "optimizer": program.optimizer, "val": data.val}
    return {**parts, "task": task, "program": program, "train": data.train}
