"""Step 1 takes its measurements, one after the other, and says of each what it has seen or why it has seen nothing."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks.catalogue import finding
from lrtune.errors import LrtuneError
from lrtune.steps.stopwatch import Stopwatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from lrtune.probes.sample import Sample
    from lrtune.progress import Progress
    from lrtune.results import Finding

_NOTHING = "nothing to measure"
_NO_TIME = "no time left"

# When the examinations end, whatever is left of them: no two runs of a model should see different things because the
# machine was busy, so that all have ample time. Theirs on slow convolutional nets were 20 passes, on a slow language
# model 17, and on a wide net of 0.25 s a pass 10 s. A program that takes three times as long does something else
# between its passes.
SECONDS = 60.0
PASSES = 60


@dataclass(frozen=True)
class Examination:
    """One measurement with its judgements.

    Attributes:
        name: What is looked at, for the progress bar and the result's details.
        probe: Measures; None where there is nothing to measure on this task.
        checks: Each turns the measurement into a finding or None.
        codes: Those that the checks may find: where nothing could be measured, these were not looked for.
        wiring: Whether step 2 looks as well: learning a sample by heart may hide such a fault.
        as_trained: Whether the program runs as training runs it: what is raised there would be raised in training.
        passes: What it costs on a slow model, in forward and backward passes; the cheaper ones come first.
    """

    name: str
    probe: Callable[[Sample], Any]
    checks: tuple[Callable[[Any], Finding | None], ...]
    codes: tuple[str, ...] = ()
    wiring: bool = False
    as_trained: bool = False
    passes: float = 0.5


@dataclass(frozen=True)
class Examined:
    """What came of one examination.

    Attributes:
        name: Of the examination.
        seconds: That it took.
        findings: What was seen.
        skipped: Why nothing was measured, None where something was.
        unseen: Codes that were not looked for, though there was something to look at.
    """

    name: str
    seconds: float
    findings: list[Finding]
    skipped: str | None
    unseen: tuple[str, ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what the result's details keep."""
        found = {"name": self.name, "seconds": round(self.seconds, 4), "skipped": self.skipped}
        return found | ({"unseen": list(self.unseen)} if self.unseen else {})


def examine(
    sample: Sample, progress: Progress, examinations: Iterable[Examination], pass_seconds: float = 0.0
) -> list[Examined]:
    """Take measurements, the cheaper first; one that fails says why and does not stop the others.

    The program itself has run before: what raises here is the program on batches or models that lrtune altered. Its
    optimizer has not.

    Args:
        sample: What is measured on.
        progress: Told how far it is.
        examinations: What to measure.
        pass_seconds: What a forward and backward pass of the model takes: what would last beyond the time that is
            spent at most is left out, see `left_out`.

    Returns:
        One entry an examination, in the order given.

    Raises:
        LrtuneError: What a program raises where it runs as in training.
    """
    examinations = tuple(examinations)
    allowed, watch = max(SECONDS, PASSES * pass_seconds), Stopwatch()
    done: dict[str, Examined] = {}
    with progress.bar("examining the untrained model", len(examinations)) as bar:
        for examination in sorted(examinations, key=lambda one: one.passes):
            started = time.perf_counter()
            in_time = watch.seconds() + examination.passes * pass_seconds <= allowed
            findings, skipped = _taken(examination, sample, progress) if in_time else ([], _NO_TIME)
            unseen = () if skipped in (None, _NOTHING) else examination.codes
            seconds = time.perf_counter() - started
            done[examination.name] = Examined(examination.name, seconds, findings, skipped, unseen)
            bar.advance()
    return [done[examination.name] for examination in examinations]


def left_out(examined: Sequence[Examined]) -> Finding | None:
    """Return the finding that names the examinations which no time was left for; None where there was enough."""
    names = [one.name for one in examined if one.skipped == _NO_TIME]
    if not names:
        return None
    seconds = sum(one.seconds for one in examined)
    message = (
        f"{len(names)} of {len(examined)} examinations of the untrained model were not done, because the others took "
        f"{seconds:.3g} s: {', '.join(names)}."
    )
    fix = (
        "Look at what model, loss and data do besides computing (waiting, loading, printing); a smaller batch_size "
        "makes every pass shorter."
    )
    return finding("out-of-time", message, seconds, f"<= {SECONDS:g} s, or {PASSES} passes of the model", fix)


def _taken(examination: Examination, sample: Sample, progress: Progress) -> tuple[list[Finding], str | None]:
    try:
        with (
            warnings.catch_warnings()
        ):  # on what lrtune altered; the user's own were shown when the program ran
            warnings.simplefilter("ignore")
            measured = examination.probe(sample)
        if measured is None:
            return [], _NOTHING
        return [found for check in examination.checks if (found := check(measured))], None
    except (LrtuneError, RuntimeError) as error:
        if examination.as_trained and isinstance(error, LrtuneError):
            raise
        return [], _first_line(error)
    except Exception as error:  # one measurement less is better than no result at all
        reason = unexpected(error)
        progress.note(f"not examined: {examination.name} ({reason}); this is a bug of lrtune's")
        return [], reason


def unexpected(error: Exception) -> str:
    """Return why an examination ended where neither torch nor the user's code was expected to raise."""
    return f"{type(error).__name__}: {_first_line(error)}"


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "")
