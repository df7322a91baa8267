"""Measure how far suggested learning rates are from the best one: lrtune's, other tools', and the usual guesses.

Run `python tests/benchmarks/learning_rate/run.py --set tuning`; `--help` lists the options. The oracle takes most of
the time; `--oracle FILE` keeps it for the next run.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import json
import math
import multiprocessing
import os
import sys
import time
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).resolve().parent
SETS = ("tuning", "held_out", "fresh")
SEEDS = (100, 200, 300)  # of lrtune's runs: none of the oracle's

# Spawned workers import this file anew, and the programs import `benchmarks.learning_rate.case`.
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, which happens in the workers

from benchmarks.learning_rate.oracle import Oracle, from_json, measure, to_json  # noqa: E402 - needs the path above

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.learning_rate.case import Case

Name = tuple[str, str]  # set, file


@dataclass(frozen=True)
class Suggested:
    """What one run of `find_lr` said.

    Attributes:
        rate: The suggestion, None where there was none.
        low: Lower end of the interval.
        high: Upper end.
        confidence: As reported.
        findings: Codes.
        gradient_steps: Taken in all.
        seconds: Wall-clock time.
        peers: By rule, its rate on each of the sweeps.
    """

    rate: float | None
    low: float | None
    high: float | None
    confidence: str
    findings: tuple[str, ...]
    gradient_steps: int
    seconds: float
    peers: dict[str, list[float | None]]


@dataclass(frozen=True)
class Scored:
    """One program: the truth, and what was suggested over several seeds."""

    group: str
    name: str
    guess: float | None
    oracle: Oracle
    runs: tuple[Suggested, ...]

    @property
    def spread(self) -> float:
        """The ratio of the highest to the lowest suggestion over seeds."""
        rates = [run.rate for run in self.runs if run.rate]
        return max(rates) / min(rates) if rates else math.inf

    def regrets(self) -> dict[str, list[float]]:
        """Return the regrets by who suggested: one a run of lrtune, one a sweep of the peers."""
        found = {"lrtune": [self.oracle.regret(run.rate) for run in self.runs]}
        for run in self.runs:
            for rule, rates in run.peers.items():
                found.setdefault(rule, []).extend(self.oracle.regret(rate) for rate in rates)
        if self.guess is not None:
            found["fixed guess"] = [self.oracle.regret(self.guess)]
        return found

    def contained(self) -> list[bool]:
        """Return for each run whether the best rate lies in its interval."""
        return [
            run.low is not None and run.high is not None and run.low <= self.oracle.best <= run.high
            for run in self.runs
        ]


def load_case(name: Name) -> Case:
    """Import one program's case."""
    return importlib.import_module(f"benchmarks.learning_rate.{name[0]}.{name[1]}").CASE


def discover(groups: Sequence[str], only: str) -> list[Name]:
    """Return set and file of every program, or of those whose file's name contains `only`."""
    files = [(group, file.stem) for group in groups for file in sorted((HERE / group).glob("*.py"))]
    return [name for name in files if only in name[1]]


def score(name: Name, known: dict[str, Any] | None) -> Scored:
    """Measure one program, in this process; `known` is an oracle measured before."""
    case = load_case(name)
    oracle = from_json(known) if known else measure(case)
    return Scored(name[0], case.name, case.guess, oracle, tuple(suggested(case, seed) for seed in SEEDS))


def suggested(case: Case, seed: int) -> Suggested:
    """Run step 3 once."""
    import lrtune
    from lrtune.probes.learning.peer_rules import PEER_RULES, peer_suggestions

    started = time.perf_counter()
    result = lrtune.find_lr(case.task(), lrtune.Config(device="cpu", seed=seed, **case.config))
    seconds = time.perf_counter() - started
    found, details = result.summary, result.details
    # The other tools know nothing of the rates beyond `find_lr.max`.
    rates = [rate for rate in details["learning_rates"] if rate <= 1.001 * lrtune.Config().find_lr.max]
    sweeps = [[loss for loss in sweep["loss"] if loss is not None] for sweep in details["sweeps"]]
    answers = [peer_suggestions(rates, losses[: len(rates)]) for losses in sweeps]
    return Suggested(
        rate=found["suggestion"],
        low=found["low"],
        high=found["high"],
        confidence=found["confidence"],
        findings=tuple(finding.code for finding in result.findings),
        gradient_steps=found["gradient_steps"],
        seconds=seconds,
        peers={rule: [answer[rule] for answer in answers] for rule in PEER_RULES},
    )


def prepare_worker() -> None:
    """Give a worker one thread and keep the programs' warnings off the screen."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def run_all(names: Sequence[Name], workers: int, oracles: dict[str, Any]) -> list[Scored]:
    """Score the programs in worker processes; `oracles` is read, and gains what was measured."""
    with concurrent.futures.ProcessPoolExecutor(
        max_workers=workers, mp_context=multiprocessing.get_context("spawn"), initializer=prepare_worker
    ) as pool:
        futures = {pool.submit(score, name, oracles.get("/".join(name))): name for name in names}
        for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            scored = future.result()
            oracles["/".join(futures[future])] = to_json(scored.oracle)
            print(f"[{done}/{len(names)}] {'/'.join(futures[future])}", file=sys.stderr, flush=True)
        return [future.result() for future in futures]


# --- what is printed ------------------------------------------------------------------------------------------------


def table(scores: Sequence[Scored]) -> list[tuple[str, ...]]:
    """Return the regrets over all programs and runs by who suggested: median, 90th percentile, worst, mean."""
    regrets: dict[str, list[float]] = defaultdict(list)
    for scored in scores:
        for who, values in scored.regrets().items():
            regrets[who].extend(values)
    rows = [("", "median", "90th percentile", "worst", "mean")]
    for who, values in regrets.items():
        numbers = (np.median(values), np.quantile(values, 0.9), max(values), np.mean(values))
        rows.append((who, *(f"{number:.3f}" for number in numbers)))
    return rows


def programs(scores: Sequence[Scored]) -> list[tuple[str, ...]]:
    """Return a row a program: best rate, suggestions, mean regret of each."""
    peers = list(dict.fromkeys(who for scored in scores for who in scored.regrets() if who != "lrtune"))
    rows = [("program", "horizon", "best", "suggested", "in interval", "lrtune", *peers)]
    for scored in scores:
        means = {who: float(np.mean(values)) for who, values in scored.regrets().items()}
        suggestions = " ".join(f"{run.rate:.2g}" if run.rate else "none" for run in scored.runs)
        contained = f"{sum(scored.contained())}/{len(scored.runs)}"
        cells = (f"{means[who]:.3f}" if who in means else "-" for who in ("lrtune", *peers))
        best = f"{scored.oracle.best:.2g}"
        rows.append((scored.name, str(scored.oracle.steps), best, suggestions, contained, *cells))
    return rows


def remarks(scores: Sequence[Scored]) -> list[str]:
    """Return the figures beside the regret."""
    runs = [run for scored in scores for run in scored.runs]
    contained = [inside for scored in scores for inside in scored.contained()]
    widths = [run.high / run.low for run in runs if run.low and run.high]
    spreads = [scored.spread for scored in scores]
    steps = [run.gradient_steps for run in runs]
    better = [
        f"{scored.name} ({', '.join(winners)})"
        for scored in scores
        if (winners := beaten_by(scored.regrets()))
    ]
    return [
        f"{len(scores)} programs, {len(runs)} runs of lrtune",
        f"best rate inside the interval: {sum(contained)} of {len(contained)} ({np.mean(contained):.0%})",
        f"interval, high / low: median {np.median(widths):.1f}, widest {max(widths):.1f}",
        f"suggestions over seeds within 2x: {sum(spread <= 2 for spread in spreads)} of {len(spreads)} programs, "
        f"widest {max(spreads):.1f}x",
        f"gradient steps: median {np.median(steps):.0f}, most {max(steps)}",
        f"seconds: median {np.median([run.seconds for run in runs]):.1f}, "
        f"longest {max(run.seconds for run in runs):.1f}",
        "where another does better by 0.01 or more: " + ("; ".join(better) or "nowhere"),
    ]


def beaten_by(regrets: dict[str, list[float]]) -> list[str]:
    """Return who has a lower mean regret than lrtune by 0.01 or more."""
    own = float(np.mean(regrets["lrtune"]))
    return [who for who, values in regrets.items() if float(np.mean(values)) <= own - 0.01]


def print_text(scores: Sequence[Scored], markdown: bool) -> None:
    """Print the tables of each set."""
    for group in dict.fromkeys(scored.group for scored in scores):
        mine = [scored for scored in scores if scored.group == group]
        print(f"\n## {group}\n" if markdown else f"\n== {group}: regret ==")
        for rows in (table(mine), programs(mine)):
            print_rows(rows, markdown)
            print()
        for line in remarks(mine):
            print(f"- {line}")


def print_rows(rows: Sequence[tuple[str, ...]], markdown: bool) -> None:
    """Print a table as Markdown, or in columns."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for index, row in enumerate(rows):
        if markdown:
            print("| " + " | ".join(row) + " |")
            if index == 0:
                print("|---" * len(row) + "|")
        else:
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--set", choices=(*SETS, "all"), default="all", help="which programs (default: all)")
    parser.add_argument("--only", default="", metavar="SUBSTRING", help="of a program's file")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    parser.add_argument("--oracle", type=Path, metavar="FILE", help="keep the dense grids' losses there")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    options = parser.parse_args()
    names = discover(SETS if options.set == "all" else (options.set,), options.only)
    if not names:
        parser.error(f"no program's file contains {options.only!r}")
    kept = options.oracle and options.oracle.exists()
    oracles = json.loads(options.oracle.read_text()) if kept else {}
    scores = run_all(names, options.jobs, oracles)
    if options.oracle:
        options.oracle.write_text(json.dumps(oracles, indent=1) + "\n")
    if options.json:
        options.json.write_text(json.dumps([asdict(scored) for scored in scores], indent=1) + "\n")
    print_text(scores, options.markdown)


if __name__ == "__main__":
    main()
