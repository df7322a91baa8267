"""Measure how often the first two steps detect and name planted faults, and how often they cry wolf.

Run `python tests/benchmarks/faults/run.py --set tuning`; `--help` lists the options.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import importlib
import json
import multiprocessing
import os
import statistics
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
SETS = ("tuning", "held_out", "fresh", "unseen", "judged", "final", "seventh")
STEPS = ("check_init", "overfit")

# Spawned workers import this file anew, and the programs import `benchmarks.faults.case`.
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, which happens in the workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.faults.case import Case


@dataclass(frozen=True)
class Seen:
    """What one step said of one program.

    Attributes:
        findings: `(code, severity)` of each, in the step's order.
        seconds: Wall-clock time.
        raised: The message of an error that lrtune raised on purpose, or None.
        crashed: The message of any other exception, or None.
    """

    findings: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0
    raised: str | None = None
    crashed: str | None = None

    def codes(self, *severities: str) -> list[str]:
        """Return the codes of the findings of some severities."""
        return [code for code, severity in self.findings if severity in severities]


@dataclass(frozen=True)
class Outcome:
    """Both steps on one program, healthy (`fault` is None) or a twin.

    Attributes:
        group: The set.
        program: Name of the case.
        fault: What was planted.
        wanted: The right answers.
        check_init: What step 1 said.
        overfit: What step 2 said.
    """

    group: str
    program: str
    fault: str | None
    wanted: tuple[str, ...]
    check_init: Seen
    overfit: Seen

    @property
    def steps(self) -> tuple[Seen, Seen]:
        """Both steps, in order."""
        return self.check_init, self.overfit

    @property
    def raised(self) -> bool:
        """Whether lrtune refused the program."""
        return any(step.raised for step in self.steps)

    @property
    def crashed(self) -> bool:
        """Whether lrtune itself failed."""
        return any(step.crashed for step in self.steps)

    @property
    def errors(self) -> list[str]:
        """Codes of the error findings; an error that was raised counts as one."""
        return [
            code for step in self.steps for code in [*step.codes("error"), *["raised"] * bool(step.raised)]
        ]

    @property
    def warned(self) -> list[str]:
        """Codes of the warning findings."""
        return [code for step in self.steps for code in step.codes("warning")]

    @property
    def detected(self) -> bool:
        """Whether the fault cannot have been missed: an error, or a warning that names it."""
        return bool(self.errors) or bool(set(self.warned) & set(self.wanted))

    @property
    def named(self) -> bool:
        """Whether any finding names the fault."""
        return any(code in self.wanted for step in self.steps for code, _ in step.findings)

    @property
    def named_first(self) -> bool:
        """Whether the first thing that a user reads names the fault."""
        for step in self.steps:
            judged = [code for code, severity in step.findings if severity != "info"]
            if judged or step.raised:
                return bool(judged) and judged[0] in self.wanted
        return False

    @property
    def said(self) -> str:
        """All that was said, step 2 after a bar; warnings in brackets, information left out."""
        return " | ".join(_said(step) for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Return the outcome as plain JSON values, with its scores."""
        scores = {name: getattr(self, name) for name in ("detected", "named", "named_first")}
        return {**dataclasses.asdict(self), **scores}


def _said(step: Seen) -> str:
    codes = [
        code if severity == "error" else f"({code})" for code, severity in step.findings if severity != "info"
    ]
    if step.raised:
        codes.append(f"raised: {_shortened(step.raised)}")
    if step.crashed:
        codes.append(f"CRASHED: {_shortened(step.crashed)}")
    return " ".join(codes) or "-"


def _shortened(message: str, length: int = 90) -> str:
    line = " ".join(message.split())
    return line if len(line) <= length else line[: length - 3] + "..."


@dataclass(frozen=True)
class Job:
    """One program to run; `index` counts the twins from 0 and is None for the healthy program."""

    group: str
    module: str
    index: int | None


def discover(groups: Sequence[str], only: str) -> list[Job]:
    """Return the jobs of all programs, or of those whose module or fault contains `only`."""
    jobs: list[Job] = []
    for group in groups:
        for file in sorted((HERE / group).glob("*.py")):
            case = load_case(group, file.stem)
            found = only in file.stem or only in case.name
            if found or any(only in text for fault in case.faults for text in (fault.name, *fault.codes)):
                jobs.append(Job(group, file.stem, None))
            for index, fault in enumerate(case.faults):
                if found or any(only in text for text in (fault.name, *fault.codes)):
                    jobs.append(Job(group, file.stem, index))
    return jobs


def load_case(group: str, module: str) -> Case:
    """Import one program's case."""
    return importlib.import_module(f"benchmarks.faults.{group}.{module}").CASE


def run_job(job: Job) -> Outcome:
    """Run both steps on one program, in this process."""
    import lrtune

    case = load_case(job.group, job.module)
    config = lrtune.Config(device="cpu", seed=0, **case.config)
    fault = None if job.index is None else case.faults[job.index]
    factory = case.healthy if fault is None else fault.task
    return Outcome(
        group=job.group,
        program=case.name,
        fault=None if fault is None else fault.name,
        wanted=() if fault is None else fault.codes,
        check_init=observe(lambda: lrtune.check_init(factory(), config)),
        overfit=observe(lambda: lrtune.overfit(factory(), config)),
    )


def observe(step: Callable[[], Any]) -> Seen:
    """Run one step and keep what it said or raised."""
    from lrtune.errors import LrtuneError

    started = time.perf_counter()
    findings: tuple[tuple[str, str], ...] = ()
    raised = crashed = None
    try:
        findings = tuple((finding.code, finding.severity) for finding in step().findings)
    except LrtuneError as error:
        raised = f"{type(error).__name__}: {error}"
    except Exception as error:  # a benchmark reports a crash and goes on
        crashed = f"{type(error).__name__}: {error}"
    return Seen(findings, time.perf_counter() - started, raised, crashed)


def prepare_worker() -> None:
    """Give a worker one thread, keep the programs' warnings off the screen, and load what the steps import."""
    import torch

    import lrtune

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    batch = (torch.eye(4), torch.arange(4))
    task = lrtune.Task(
        model=lambda: torch.nn.Linear(4, 4), train=[batch], loss=torch.nn.functional.cross_entropy
    )
    config = lrtune.Config(device="cpu", overfit={"batches": 1, "steps": 2})
    for step in (lrtune.check_init, lrtune.overfit):
        observe(lambda step=step: step(task, config))  # otherwise a worker's first program would pay for it


def run_all(jobs: Sequence[Job], workers: int) -> list[Outcome]:
    """Run the jobs in worker processes and return their outcomes in the same order."""
    with concurrent.futures.ProcessPoolExecutor(
        max_workers=workers, mp_context=multiprocessing.get_context("spawn"), initializer=prepare_worker
    ) as pool:
        futures = [pool.submit(run_job, job) for job in jobs]
        for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            outcome = future.result()
            seconds = sum(step.seconds for step in outcome.steps)
            name = f"{outcome.program}: {outcome.fault or 'healthy'}"
            print(f"[{done}/{len(jobs)}] {seconds:5.1f} s  {name}", file=sys.stderr, flush=True)
        return [future.result() for future in futures]


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return the figures of one set."""
    healthy = [outcome for outcome in outcomes if outcome.fault is None]
    twins = [outcome for outcome in outcomes if outcome.fault is not None]
    figures: dict[str, Any] = {
        "programs": len(healthy),
        "twins": len(twins),
        "detected": sum(twin.detected for twin in twins),
        "named": sum(twin.named for twin in twins),
        "named_first": sum(twin.named_first for twin in twins),
        "healthy_with_error": sum(bool(outcome.errors) for outcome in healthy),
        "healthy_with_warning": sum(bool(outcome.warned) for outcome in healthy),
        "healthy_warnings": sum(len(outcome.warned) for outcome in healthy),
        "crashed": sum(outcome.crashed for outcome in outcomes),
    }
    for step in STEPS:
        seconds = [getattr(outcome, step).seconds for outcome in outcomes]
        figures[f"{step}_seconds_median"] = statistics.median(seconds)
        figures[f"{step}_seconds_max"] = max(seconds)
    return figures


def summary_lines(figures: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the figures as label and text."""
    yield "healthy programs", str(figures["programs"])
    yield "twins with a planted fault", str(figures["twins"])
    for key, label in (("detected", "detected"), ("named", "named"), ("named_first", "named first")):
        yield label, _share(figures[key], figures["twins"])
    yield "healthy programs with an error", _share(figures["healthy_with_error"], figures["programs"])
    yield "healthy programs with a warning", _share(figures["healthy_with_warning"], figures["programs"])
    per_program = figures["healthy_warnings"] / max(figures["programs"], 1)
    yield "warnings per healthy program", f"{per_program:.2f}"
    if figures["crashed"]:
        yield "crashes of lrtune", str(figures["crashed"])
    for step in STEPS:
        median, longest = figures[f"{step}_seconds_median"], figures[f"{step}_seconds_max"]
        yield f"seconds of {step}", f"median {median:.1f}, longest {longest:.1f}"


def _share(part: int, whole: int) -> str:
    return f"{part} of {whole} ({part / whole:.0%})" if whole else "none"


def misses(outcomes: Sequence[Outcome]) -> list[tuple[str, str, str, str]]:
    """Return program, fault, what was missed, and what was said, of twins and of healthy programs."""
    rows = []
    for outcome in outcomes:
        if outcome.fault is None:
            if outcome.errors or outcome.warned or outcome.crashed:
                rows.append((outcome.program, "healthy", "false alarm", outcome.said))
        elif not outcome.named:
            missed = "not named" if outcome.detected else "not detected"
            wanted = " or ".join(outcome.wanted)
            rows.append((outcome.program, outcome.fault, f"{missed}: {wanted}", outcome.said))
    return rows


def print_text(outcomes: Sequence[Outcome]) -> None:
    """Print a table of all programs, the misses and the figures."""
    program_width = max(len(outcome.program) for outcome in outcomes)
    fault_width = max(len(outcome.fault or "") for outcome in outcomes)
    wanted_width = max(len(",".join(outcome.wanted)) for outcome in outcomes)
    for group in _groups(outcomes):
        mine = [outcome for outcome in outcomes if outcome.group == group]
        print(f"\n== {group} ==  D detected, N named, 1 named first; findings of check_init | overfit")
        for outcome in mine:
            marks = ((outcome.detected, "D"), (outcome.named, "N"), (outcome.named_first, "1"))
            flags = "".join(letter if mark else "." for mark, letter in marks) if outcome.fault else "ok?"
            if outcome.fault is None and not (outcome.errors or outcome.warned or outcome.crashed):
                flags = "ok "
            seconds = " ".join(f"{step.seconds:5.1f}" for step in outcome.steps)
            print(
                f"{flags} {seconds}  {outcome.program:{program_width}}  {outcome.fault or 'healthy':{fault_width}}"
                f"  {','.join(outcome.wanted):{wanted_width}}  {outcome.said}"
            )
        missed = misses(mine)
        print(f"\n{group}: {len(missed)} misses and false alarms")
        for program, fault, what, said in missed:
            print(f"  {program} / {fault} / {what} / {said}")
        print(f"\n{group}: " + "; ".join(f"{label} {text}" for label, text in summary_lines(summary(mine))))


def print_markdown(outcomes: Sequence[Outcome]) -> None:
    """Print the figures and the misses as Markdown tables."""
    groups = _groups(outcomes)
    columns = [
        dict(summary_lines(summary([outcome for outcome in outcomes if outcome.group == group])))
        for group in groups
    ]
    print("| | " + " | ".join(groups) + " |")
    print("|---|" + "---|" * len(groups))
    for label in dict.fromkeys(label for column in columns for label in column):
        print(f"| {label} | " + " | ".join(column.get(label, "0") for column in columns) + " |")
    for group in groups:
        print(f"\n| {group}: program | planted | missed | said |\n|---|---|---|---|")
        for row in misses([outcome for outcome in outcomes if outcome.group == group]):
            print("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")


def _groups(outcomes: Sequence[Outcome]) -> list[str]:
    return list(dict.fromkeys(outcome.group for outcome in outcomes))


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=(*SETS, "all"), default="all", help="which programs (default: all)")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="of a program, a fault or a code")
    parser.add_argument("--healthy", action="store_true", help="the healthy programs alone")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    parser.add_argument("--markdown", action="store_true", help="print figures and misses as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    options = parser.parse_args()
    jobs = discover(SETS if options.set == "all" else (options.set,), options.only)
    if options.healthy:
        jobs = [job for job in jobs if job.index is None]
    if not jobs:
        parser.error(f"no program, fault or code contains {options.only!r}")
    outcomes = run_all(jobs, options.jobs)
    if options.json:
        figures = {
            group: summary([outcome for outcome in outcomes if outcome.group == group])
            for group in _groups(outcomes)
        }
        data = {"summary": figures, "outcomes": [outcome.to_dict() for outcome in outcomes]}
        options.json.write_text(json.dumps(data, indent=1) + "\n")
    (print_markdown if options.markdown else print_text)(outcomes)


if __name__ == "__main__":
    main()
