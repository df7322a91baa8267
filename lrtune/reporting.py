"""Step 6's page: written from results, of a recipe that has just run or of a run directory alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtune.errors import RunDirError
from lrtune.results import STEPS, StepResult
from lrtune.run_dir import FILES, RunDir
from lrtune.steps.loss_curves import loss_curves

if TYPE_CHECKING:
    from collections.abc import Mapping

_REPORTED = ("task", "device", "seed", "optimizer", "own_optimizer", "batch_size")


def report_run_dir(path: str, command: str = "") -> StepResult:
    """Write the report of a run directory from its files alone; no task is loaded.

    Args:
        path: The run directory.
        command: The command line, for the report.

    Raises:
        RunDirError: If the directory holds no result, or cannot be written.
    """
    started = time.perf_counter()
    if not any((Path(path) / name).is_file() for name in FILES.values()):
        raise RunDirError(f"{path}: holds no result of lrtune ({', '.join(FILES.values())})")
    notes: list[str] = []
    run_dir = RunDir(path, notes.append)
    stored = {name: one for name in STEPS[:-1] if (one := run_dir.load(name)) is not None}
    if not stored:
        raise RunDirError(f"{path}: none of its results can be read: {'; '.join(notes)}")
    results = {name: one.result for name, one in stored.items()}
    result = loss_curves(results)
    origin = list(stored.values())[-1].made_from
    unfinished = [name for name, one in stored.items() if not one.complete]
    context = {**report_context(origin), "command": command, "unfinished": unfinished}
    result.summary["html"] = write_page(run_dir, {**results, "report": result}, context)
    result.seconds = time.perf_counter() - started
    return run_dir.save(result, origin)


def write_page(run_dir: RunDir, results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    """Write the page and the best settings; see `lrtune.reports.files.write_report`."""
    from lrtune.reports.files import write_report  # Altair takes longer to import than the first steps to run

    return write_report(run_dir, results, context)


def report_context(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of how its results were obtained, from what they were made from."""
    return {key: origin.get(key) for key in _REPORTED}
