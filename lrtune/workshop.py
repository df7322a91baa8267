"""What every process that trains a task works with: the task made ready, its variants, and the surroundings kept."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from lrtune.data.device import resolve_device
from lrtune.population.outside import outside_kept
from lrtune.population.precision import check_precision, products_in
from lrtune.population.told import Told
from lrtune.random_state import preserved
from lrtune.steps.context import Context, open_context
from lrtune.studies import Variants
from lrtune.task_file import load_function, optimizer_sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from lrtune.config import Config
    from lrtune.progress import Progress
    from lrtune.steps.cells import Combination
    from lrtune.task import Task


class Workshop:
    """A task made ready when it is first needed, and put away at the end.

    Args:
        task: Model, data and loss.
        config: Settings.
        progress: Told how far the work is.
        folder: What relative paths in the settings start from.
        plans: Returns what a planner of this task remembered, and what it tells of what it finds.

    Attributes:
        device: Where models and data live.
        told: What a person was told of how members are trained.
        variants: The task made ready for values of the coarse grid's further axes.
        sources: What a change of an optimizer of the user's own shows in.

    Raises:
        ConfigError: If the device is not there, or an axis stands for nothing.
    """

    def __init__(
        self,
        task: Task,
        config: Config,
        progress: Progress,
        folder: str | None,
        plans: Callable[[], tuple[Any, ...]] = tuple,
    ) -> None:
        self._task, self._config = task, config
        self._progress = progress
        self._folder = folder
        self._plans = plans
        self.device = resolve_device(config.device)
        if remark := check_precision(config.precision, self.device):
            progress.note(remark)
        self.told = Told(progress)
        self.variants = Variants(task, config, folder, self._ready)
        self.sources = optimizer_sources(task, config.optimizer.name, folder)
        self._context: Context | None = None

    @contextmanager
    def working(self) -> Iterator[None]:
        """The caller's random state and gradient mode are put back, and all that was opened is closed."""
        with preserved(), torch.enable_grad(), products_in(self._config.precision, self.device):
            try:
                yield
            finally:
                self.variants.close()
                if self._context is not None:
                    self._context.close()

    def opened(self) -> Context:
        """Return the task made ready."""
        if self._context is None:
            self._context = self._ready(self._task, self._config, *self._plans())
        self._context.open()
        return self._context

    @contextmanager
    def at(self, context: Context, combination: Combination = ()) -> Iterator[Context]:
        """A context, with values of further axes; what the task's code keeps outside its models is put back."""
        context = self.variants.open(combination, context)
        with outside_kept(context.task):
            yield context

    def _ready(self, task: Task, config: Config, *plans: Any) -> Context:
        def load(name: str, role: str) -> Callable[..., Any]:
            return load_function(name, role, self._folder)

        return open_context(task, config, self._progress, load, *plans, told=self.told)
