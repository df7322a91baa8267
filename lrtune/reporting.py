"""Step 6's page: written from results, of a recipe that has just run or of a run directory alone."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtune.environment import environment
from lrtune.errors import RunDirError
from lrtune.provenance import strangers
from lrtune.results import STEPS, StepResult, jsonable
from lrtune.run_dir import FILES, RUNS_AGAIN, RunDir
from lrtune.steps.loss_curves import loss_curves
from lrtune.storage import without_password

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.run_dir import Stored

_REPORTED = ("task", "device", "seed", "optimizer", "own_optimizer", "batch_size", "batches")
COMMANDS = {name: f"lrtune {name}" for name in STEPS} | {
    "coarse-grid": "lrtune grid --coarse",
    "refine-grid": "lrtune grid --refine",
}


@dataclass(frozen=True)
class Material:
    """What a report is made of, in whatever form.

    Attributes:
        results: By step, in the recipe's order.
        context: See `lrtune.reports.html.render`.
        made_from: By step: what each result was made from.
    """

    results: dict[str, StepResult]
    context: dict[str, Any]
    made_from: dict[str, dict[str, Any]]


def report_run_dir(
    path: str, command: str = "", note: Callable[[str], object] = lambda text: None
) -> StepResult:
    """Write the report of a run directory from its files alone; no task is loaded.

    Steps that were not made from what the best setting's grid was made from are left out.

    Args:
        path: The run directory.
        command: The command line, for the report.
        note: Told, a line each, of what cannot be read or is left out.

    Raises:
        RunDirError: If the directory holds no result, or cannot be written.
    """
    started = time.perf_counter()
    run_dir, stored = _opened(path, note)
    belonging = _belonging(stored, note)
    origin = stored[_answer(stored)].made_from
    results = {name: one.result for name, one in belonging.items()}
    result = loss_curves(results)
    unfinished = [name for name, one in belonging.items() if not one.complete]
    context = {**report_context(origin), "command": without_password(command), "unfinished": unfinished}
    context["stale"] = [name for name in stored if name not in belonging]
    result.summary["html"] = write_page(run_dir, {**results, "report": result}, context)
    result.seconds = time.perf_counter() - started
    return run_dir.save(result, origin)


def _answer(stored: Mapping[str, Stored]) -> str:
    """Return the step that the report is about: the latest grid with a best setting, else the last step."""
    grids = [name for name in ("refine-grid", "coarse-grid") if name in stored]
    return next((name for name in grids if stored[name].result.summary["best"] is not None), [*stored][-1])


def _belonging(stored: Mapping[str, Stored], note: Callable[[str], object]) -> dict[str, Stored]:
    """Return the results without those that were made from something else than the best setting's grid."""
    answer = _answer(stored)
    summaries = {name: one.result.summary for name, one in stored.items()}
    left_out = strangers({name: one.made_from for name, one in stored.items()}, summaries, answer)
    for name, names in left_out.items():
        cut = "" if stored[name].complete else "it was interrupted, and "
        note(f"{name}: left out, because {cut}it has another {', '.join(names)} than {answer}; run it again")
    return {name: one for name, one in stored.items() if name not in left_out}


def write_page(run_dir: RunDir, results: Mapping[str, StepResult], context: Mapping[str, Any]) -> str:
    """Write the page and the best settings; see `lrtune.reports.files.write_report`.

    The report's result keeps what the page says of its making, so that it can be set in other forms later.
    """
    from lrtune.reports.files import write_report  # Altair takes longer to import than the first steps to run

    report = results["report"]
    report.details["environment"] = environment(str(context.get("command") or ""))
    report.details["context"] = jsonable(context)
    sweep = results.get("find-lr")
    report.details["suggestion"] = sweep.summary.get("suggestion") if sweep else None
    report.details["reported"] = [step for step in results if step != "report"]
    return write_report(run_dir, results, context)


def material_of(path: str) -> Material:
    """Return what the last report of a run directory was made of.

    Args:
        path: A run directory that holds a report.

    Raises:
        RunDirError: If it holds no result.
    """
    run_dir, stored = _opened(path)
    report = run_dir.load("report")
    made_from = {name: one.made_from for name, one in stored.items()}
    results = {name: one.result for name, one in stored.items()}
    if report is None or "context" not in report.result.details:
        return Material(results, report_context(list(made_from.values())[-1]), made_from)
    shown = [step for step in report.result.details["reported"] if step in results]
    chosen = {**{step: results[step] for step in shown}, "report": report.result}
    return Material(chosen, dict(report.result.details["context"]), made_from)


def results_of(path: str, note: Callable[[str], object] = lambda text: None) -> Material:
    """Return the results of a run directory, with step 6 as it follows from them; nothing is written.

    Steps that were not made from what the best setting's grid was made from are left out, as in the directory's report.

    Args:
        path: The run directory.
        note: Told, a line each, of what cannot be read or is left out.

    Raises:
        RunDirError: If the directory holds no result.
    """
    _, stored = _opened(path, note)
    belonging = _belonging(stored, note)
    results = {name: one.result for name, one in belonging.items()}
    made_from = {name: one.made_from for name, one in belonging.items()}
    context = report_context(stored[_answer(stored)].made_from)
    return Material({**results, "report": loss_curves(results)}, context, made_from)


def is_run_dir(path: str | Path) -> bool:
    """Whether a directory holds at least one result of lrtune."""
    return any((Path(path) / name).is_file() for name in FILES.values())


def _opened(path: str, note: Callable[[str], object] = lambda text: None) -> tuple[RunDir, dict[str, Stored]]:
    """Return a run directory and the steps' results in it, that of the report left out."""
    if not is_run_dir(path):
        raise RunDirError(f"{path}: holds no result of lrtune ({', '.join(FILES.values())})")
    notes: list[str] = []
    run_dir = RunDir(path, notes.append)
    stored = {}
    for name in STEPS[:-1]:
        before = len(notes)
        if (one := run_dir.load(name)) is not None:
            stored[name] = one
        for text in notes[before:]:
            note(text.replace(RUNS_AGAIN, f"to make it again: {COMMANDS[name]} CONFIG"))
    if not stored:
        raise RunDirError(f"{path}: none of its results can be read: {'; '.join(notes)}")
    return run_dir, stored


def report_context(origin: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report says of how its results were obtained, from what they were made from."""
    return {key: origin.get(key) for key in _REPORTED}
