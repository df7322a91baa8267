"""The forms that only a report has: the page, Markdown, a folder of pictures, TensorBoard's files."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lrtune.cli.options import FOLDERS
from lrtune.cli.output import exit_code
from lrtune.cli.plot_file import write_chart
from lrtune.cli.progress import Terminal
from lrtune.errors import UsageError

if TYPE_CHECKING:
    from lrtune.cli.options import Common
    from lrtune.reporting import Material
    from lrtune.results import StepResult

FORMS = ("html", "md", "png", "svg")
_PICTURE_FOLDER = "charts"  # within the run directory, where --output names no other


def check_folder(name: str) -> None:
    """Refuse, before any work is done, a folder that could not be made or written; it is made.

    Raises:
        UsageError: If it cannot.
    """
    try:
        Path(name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=name):
            pass
    except OSError as error:
        raise UsageError(f"--output: cannot write to the folder {name}: {error.strerror or error}") from None


def write_form(result: StepResult, common: Common) -> int:
    """Write a report in one of `FORMS`; return the exit code.

    Markdown goes to stdout unless `--output` names a file. The page and the pictures are files in any case, and what
    is said is where they are.

    Args:
        result: Of the report.
        common: The options.

    Raises:
        UsageError: If a file cannot be written.
    """
    from lrtune.reporting import material_of

    assert result.run_dir is not None  # the command line always has one
    material = material_of(result.run_dir)
    if common.form == "md" and common.output is None:
        sys.stdout.write(_text(material, "md"))
        sys.stdout.flush()
    else:
        Terminal(common.quiet).note(_files(material, result.run_dir, common))
    return written(result, common)


def written(result: StepResult, common: Common) -> int:
    """Write the chart where one is asked for, when all else is written and said; return the exit code."""
    if common.plot is not None:
        write_chart(result, common.plot, common.quiet)
    return exit_code(result, common.strict)


def _files(material: Material, run_dir: str, common: Common) -> str:
    """Write the files and return what is to be said of them."""
    try:
        if common.form in FOLDERS:
            return _pictures(material, Path(common.output or Path(run_dir) / _PICTURE_FOLDER), common.form)
        if common.output is None:
            return f"the page is {Path(run_dir) / 'report.html'}"
        from lrtune.atomic_file import write_atomically

        target = Path(common.output)
        write_atomically(target, _text(material, common.form).encode("utf-8", "backslashreplace"))
        return f"wrote the report to {target} ({common.form})"
    except OSError as error:
        where = error.filename or common.output
        raise UsageError(f"--output: cannot write {where}: {error.strerror or error}") from error


def _text(material: Material, form: str) -> str:
    from lrtune.reports.forms import TEXTS

    return TEXTS[form](material.results, material.context)


def _pictures(material: Material, folder: Path, suffix: str) -> str:
    from lrtune.reports.forms import write_pictures

    written = write_pictures(material.results, folder, suffix)
    return f"wrote {len(written)} charts to {folder}: {', '.join(path.name for path in written)}"


def write_events(result: StepResult, directory: str, common: Common) -> None:
    """Write what TensorBoard reads, and say so on stderr.

    Raises:
        UsageError: If it cannot be written.
    """
    from lrtune.reporting import material_of
    from lrtune.reports import tensorboard

    assert result.run_dir is not None
    material = material_of(result.run_dir)
    try:
        count = tensorboard.write_events(material.results, Path(directory))
    except OSError as error:
        raise UsageError(
            f"--tensorboard: cannot write to {directory}: {error.strerror or error}; choose another directory"
        ) from error
    look = f"wrote {count} trials to {directory}; look at them with: tensorboard --logdir {directory}"
    Terminal(common.quiet).note(look if count else "no grid has run: there are no trials for TensorBoard")
