"""The run directory: plain files that outlive the tool, written atomically, each knowing what it was made from."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrtune.atomic_file import write_atomically
from lrtune.curve_file import curve_from_csv, curve_to_csv
from lrtune.errors import RunDirError
from lrtune.folder_lock import locked_folder
from lrtune.provenance import fingerprint
from lrtune.results import SCHEMA, Finding, StepResult, jsonable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from lrtune.results import Curve

_FAILED = "failed"  # folder of the tracebacks
RUNS_AGAIN = "its step runs again"  # what follows from a damaged file, where a recipe finds it

FILES = {
    "check-init": "check-init.json",
    "overfit": "overfit.json",
    "find-lr": "find-lr.json",
    "coarse-grid": "coarse.json",
    "refine-grid": "refine.json",
    "report": "report.json",
}


# Of each summary, what the steps that start from it read.
_NEEDED = {"find-lr": ("suggestion",), "coarse-grid": ("best", "trials"), "refine-grid": ("best", "trials")}


@dataclass(frozen=True)
class Stored:
    """A result as it was found.

    Attributes:
        result: The step's result.
        made_from: What it was made from.
        complete: Whether the step had come to its end.
    """

    result: StepResult
    made_from: dict[str, Any]
    complete: bool


class RunDir:
    """A directory of results.

    Args:
        path: The directory; made when it is not there.
        note: Told, in a line, of a file that could not be read and was set aside.

    Raises:
        RunDirError: If the directory cannot be made or written.
    """

    def __init__(self, path: str | Path, note: Callable[[str], None] = lambda text: None) -> None:
        self.path = Path(path)
        self._note = note
        self._written: dict[str, tuple[Curve, str]] = {}
        try:
            self._made = [path for path in (self.path, *self.path.parents) if not path.exists()]
            self.path.mkdir(parents=True, exist_ok=True)
            # Asking by writing: permission bits say nothing of full or read-only file systems.
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise RunDirError(
                f"run_dir: cannot write to {self.path}: {error.strerror}; choose another with --run-dir"
            ) from None

    def save(self, result: StepResult, made_from: Mapping[str, Any], complete: bool = True) -> StepResult:
        """Write a result and its curves; return it, saying where it is kept.

        The record comes last and holds the digest of every curve: a reader sees either all of it or none.

        Args:
            result: Of a step.
            made_from: What it was made from.
            complete: False for what a step has so far.
        """
        result = result.stored_in(str(self.path))
        digests = {name: self.write_curve(name, curve) for name, curve in result.curves.items()}
        record = {
            **result.to_dict(),
            "complete": complete,
            "fingerprint": fingerprint(made_from),
            "made_from": made_from,
            "details": jsonable(result.details),
            "curves": digests,
        }
        self.write(FILES[result.step], json.dumps(record, indent=1) + "\n")
        self._remove_other_curves(result)
        if complete:
            self._remove_other_tracebacks(result)
        return result

    def load(self, step: str) -> Stored | None:
        """Return a step's stored result; None when there is none that can be read.

        A file that is damaged is set aside under another name, and the note says so.
        """
        path = self.path / FILES[step]
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            self.set_aside(path, str(error))
            return None
        try:
            record = json.loads(text)
            result = _result_from(record, step)
            made_from = dict(record["made_from"])
            complete = bool(record["complete"])
            curves = {name: self._load_curve(name, digest) for name, digest in record["curves"].items()}
        except _DamagedCurveError as error:
            if error.path.exists():
                self.set_aside(error.path, "it is not what was written")
            else:
                self._note(f"{error.path}: missing; {RUNS_AGAIN}")
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.set_aside(path, f"not a result of {step} ({type(error).__name__})")
            return None
        result.curves, result.run_dir, result.reused = curves, str(self.path), True
        self._written |= {name: (curve, record["curves"][name]) for name, curve in curves.items()}
        return Stored(result, made_from, complete)

    def write_curve(self, name: str, curve: Curve) -> str:
        """Write a curve unless it was the last to be written by this name; return its digest."""
        written, digest = self._written.get(name, (None, ""))
        if written is not curve:
            digest = self.write(f"curves/{name}.csv", curve_to_csv(curve))
            self._written[name] = (curve, digest)
        return digest

    def write_traceback(self, name: str, text: str) -> str:
        """Write where the trial of a curve failed; return the file's name in the directory."""
        file = f"{_FAILED}/{name}.txt"
        self.write(file, text)
        return file

    def read_curve(self, name: str, digest: str) -> Curve | None:
        """Return a curve that was written with a digest; None where it is not there, or is another."""
        try:
            curve = self._load_curve(name, digest)
        except _DamagedCurveError:
            return None
        self._written[name] = (curve, digest)
        return curve

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file so that it is there whole or not at all; return its digest.

        Raises:
            RunDirError: If it cannot be written.
        """
        path = self.path / name
        data = content.encode() if isinstance(content, str) else content
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError as error:
            raise RunDirError(f"run_dir: cannot write {path}: {error.strerror}") from None
        return digest_of(data)

    def remove_if_empty(self) -> None:
        """Remove the directory, and those above it, if they were made here and nothing was written."""
        for path in self._made:
            try:
                path.rmdir()
            except OSError:  # it holds something
                return

    def remove(self, name: str) -> None:
        """Remove a file that no longer holds; it need not be there."""
        (self.path / name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from working here for the length of the block.

        Raises:
            RunDirError: If another process does already.
        """
        self.path.mkdir(parents=True, exist_ok=True)  # removed, if the step before has written nothing
        with contextlib.ExitStack() as held:
            try:
                held.enter_context(locked_folder(self.path))
            except BlockingIOError:
                raise RunDirError(
                    f"run_dir: another lrtune is working in {self.path}; wait for it, or choose another with --run-dir"
                ) from None
            yield

    def set_aside(self, path: Path, why: str) -> None:
        """Rename a damaged file so that it is neither used nor lost."""
        self._written.pop(path.stem, None)
        aside = path.with_name(f"{path.name}.damaged")
        with contextlib.suppress(FileNotFoundError):
            path.replace(aside)
        self._note(f"{path}: damaged ({why}); set aside as {aside.name}, {RUNS_AGAIN}")

    def _load_curve(self, name: str, digest: str) -> Curve:
        path = self.path / "curves" / f"{name}.csv"
        try:
            data = path.read_bytes()
        except OSError:
            raise _DamagedCurveError(path) from None
        if digest_of(data) != digest:
            raise _DamagedCurveError(path)
        return curve_from_csv(data.decode())

    def _remove_other_curves(self, result: StepResult) -> None:
        for path in (self.path / "curves").glob(f"{curve_prefix(result.step)}-*.csv"):
            if path.stem not in result.curves:
                self._written.pop(path.stem, None)
                path.unlink(missing_ok=True)

    def _remove_other_tracebacks(self, result: StepResult) -> None:
        told = {trial.get("traceback") for trial in result.summary.get("trials") or ()}
        for path in (self.path / _FAILED).glob(f"{curve_prefix(result.step)}-*.txt"):
            if f"{_FAILED}/{path.name}" not in told:
                path.unlink(missing_ok=True)


def digest_of(content: str | bytes) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(content.encode() if isinstance(content, str) else content).hexdigest()


def curve_prefix(step: str) -> str:
    """Return how the names of a step's curves begin: `coarse` for `coarse-000`."""
    return FILES[step].removesuffix(".json")


class _DamagedCurveError(Exception):
    def __init__(self, path: Path) -> None:
        self.path = path


def _result_from(record: dict[str, Any], step: str) -> StepResult:
    if record["schema"] != SCHEMA or record["step"] != step:
        raise ValueError("another schema or step")
    if missing := [key for key in _NEEDED.get(step, ()) if key not in record["summary"]]:
        raise KeyError(*missing)
    return StepResult(
        step=step,
        findings=[Finding(**finding) for finding in record["findings"]],
        summary=dict(record["summary"]),
        seconds=float(record["seconds"]),
        details=dict(record["details"]),
    )
