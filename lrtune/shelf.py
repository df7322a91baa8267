"""What is known of the steps: results of this recipe and of its run directory, and whether they are fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.provenance import changed, made_from
from lrtune.results import STEPS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from lrtune.config import Config
    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir, Stored
    from lrtune.task import Task


class Shelf:
    """The results of one task with its settings; nothing is ever run for them.

    Args:
        task: The user's task.
        config: The settings.
        device: The device that is used in the end.
        optimizer_sources: The files of an optimizer that the settings name by file.
        run_dir: Where results are stored, if anywhere.
    """

    def __init__(
        self,
        task: Task,
        config: Config,
        device: str,
        optimizer_sources: Sequence[Path],
        run_dir: RunDir | None,
    ) -> None:
        self.results: dict[str, StepResult] = {}  # of this recipe, or found fresh
        self._task = task
        self._config = config
        self._device = device
        self._optimizer_sources = optimizer_sources
        self._run_dir = run_dir
        self._stored: dict[str, Stored | None] = {}

    def stored(self, name: str) -> Stored | None:
        """Return a step's result as the run directory held it at first, fresh or not; None where there is none."""
        if name not in self._stored:
            self._stored[name] = self._run_dir.load(name) if self._run_dir else None
        return self._stored[name]

    def known(self, name: str) -> StepResult | None:
        """Return a step's result if there is a fresh one, of this recipe or stored."""
        stored = self.stored(name) if name not in self.results else None
        if stored is None:
            return self.results.get(name)
        inputs = {input_name: self.known(input_name) for input_name in self.input_names(name)}
        fresh = {key: result for key, result in inputs.items() if result is not None}
        same = len(fresh) == len(inputs) and not changed(stored.made_from, self.made_from(name, fresh))
        return stored.result if same and stored.complete else None

    def fresh(self) -> dict[str, StepResult]:
        """Return by step all results that are there and fresh."""
        return {name: result for name in STEPS[:-1] if (result := self.known(name)) is not None}

    def input_names(self, name: str) -> tuple[str, ...]:
        """Return the steps that a step starts from."""
        if name == "coarse-grid" and self._config.coarse.lr == "auto":
            return ("find-lr",)
        return ("coarse-grid",) if name == "refine-grid" else ()

    def made_from(self, name: str, inputs: Mapping[str, StepResult]) -> dict[str, Any]:
        """Return what a step's result depends on; see `lrtune.provenance.made_from`."""
        return made_from(name, self._task, self._config, self._device, inputs, self._optimizer_sources)
