"""Which measurements step 1 takes of an untrained model, and which checks judge each.

A new check: a probe that measures, a function that judges, its text in the catalogue, and one line in `EXAMINATIONS`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.errors import LrtuneError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from lrtune.probes.sample import Sample
    from lrtune.progress import Progress
    from lrtune.results import Finding


@dataclass(frozen=True)
class Examination:
    """One measurement with its judgements.

    Attributes:
        name: What is looked at, for the progress bar and the result's details.
        probe: Measures; None where there is nothing to measure on this task.
        checks: Each turns the measurement into a finding or None.
    """

    name: str
    probe: Callable[[Sample], Any]
    checks: tuple[Callable[[Any], Finding | None], ...]


@dataclass(frozen=True)
class Examined:
    """What came of one examination.

    Attributes:
        name: Of the examination.
        seconds: That it took.
        findings: What was seen.
        skipped: Why nothing was measured, None where something was.
    """

    name: str
    seconds: float
    findings: list[Finding]
    skipped: str | None

    def told(self) -> dict[str, Any]:
        """Return what the result's details keep."""
        return {"name": self.name, "seconds": round(self.seconds, 4), "skipped": self.skipped}


EXAMINATIONS: tuple[Examination, ...] = ()


def examine(sample: Sample, progress: Progress, examinations: Iterable[Examination]) -> list[Examined]:
    """Take measurements one after the other; one that fails says why and does not stop the others.

    The program itself has run before: what raises here is the program on batches or models that lrtune altered.
    """
    examinations = tuple(examinations)
    done = []
    with progress.bar("examining the untrained model", len(examinations)) as bar:
        for examination in examinations:
            started = time.perf_counter()
            findings, skipped = _taken(examination, sample)
            done.append(Examined(examination.name, time.perf_counter() - started, findings, skipped))
            bar.advance()
    return done


def _taken(examination: Examination, sample: Sample) -> tuple[list[Finding], str | None]:
    try:
        measured = examination.probe(sample)
    except (LrtuneError, RuntimeError) as error:
        return [], str(error).splitlines()[0]
    if measured is None:
        return [], "nothing to measure"
    return [found for check in examination.checks if (found := check(measured))], None
