"""Measure how many gradient steps a search takes until its settings are about as good as anyone's.

Run `python tests/benchmarks/quality/run.py`; `--help` lists the options. Each search runs on four programs under three
seeds. What counts is the number of gradient steps, of all trials together, until a validation loss lies within 1% of
the best that any search found under the same seed, the way from the initial loss to that best being the whole.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import importlib
import json
import math
import multiprocessing
import os
import statistics
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Spawned workers import this file anew.
_TESTS = Path(__file__).resolve().parents[2]
if str(_TESTS) not in sys.path:
    sys.path.insert(0, str(_TESTS))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded, which happens in the workers

if TYPE_CHECKING:
    from benchmarks.quality.trace import Trace

# Of the learning-rate benchmark: a classifier, a regression, embeddings, a recommender; SGD, Adam, Adagrad.
PROGRAMS = (
    "tuning.digits_mlp",
    "tuning.sensors_regression",
    "held_out.loans_embeddings",
    "held_out.overlaid_digits",
)
SEEDS = (0, 1, 2)
WITHIN = 0.01

Key = tuple[str, int, str]  # program, seed, search


def measure(key: Key) -> Trace:
    """Run one search, in this process."""
    import torch
    from benchmarks.quality.searches import SEARCHES

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    program, seed, search = key
    case = importlib.import_module(f"benchmarks.learning_rate.{program}").CASE
    return SEARCHES[search](case, seed)


def measured(keys: list[Key], jobs: int) -> dict[Key, Trace]:
    """Run all searches in worker processes."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(jobs, mp_context=context) as pool:
        futures = {pool.submit(measure, key): key for key in keys}
        traces = {}
        for done, future in enumerate(concurrent.futures.as_completed(futures), start=1):
            traces[futures[future]] = future.result()
            print(f"[{done}/{len(keys)}] {' '.join(map(str, futures[future]))}", file=sys.stderr, flush=True)
    return traces


def steps_needed(traces: dict[Key, Trace]) -> dict[Key, float]:
    """Return for each search the steps until it was within `WITHIN` of the best of its program and seed."""
    needed = {}
    for program, seed, search in traces:
        rivals = [trace for (p, s, _), trace in traces.items() if (p, s) == (program, seed)]
        best = min(trace.best for trace in rivals)
        initial = statistics.median(trace.initial for trace in rivals)
        needed[program, seed, search] = traces[program, seed, search].steps_until(
            best + WITHIN * (initial - best)
        )
    return needed


def rows_of(needed: dict[Key, float], traces: dict[Key, Trace]) -> list[list[str]]:
    """Return the table: each program's steps by search, their ratio to lrtune's, what each search spent and found."""
    rows = [
        ["program", "search", "steps until within 1%, by seed", "median", "times lrtune's", "steps in all"]
    ]
    for program in dict.fromkeys(key[0] for key in needed):
        searches = dict.fromkeys(key[2] for key in needed)
        medians = {
            search: statistics.median(needed[key] for key in needed if (key[0], key[2]) == (program, search))
            for search in searches
        }
        own = medians.get("lrtune", math.nan)
        for search, median in medians.items():
            keys = [key for key in needed if (key[0], key[2]) == (program, search)]
            each = " ".join(_steps(needed[key]) for key in keys)
            spent = statistics.median(traces[key].spent for key in keys)
            ratio = "never" if math.isinf(median) else f"{median / own:.2f}"
            rows.append([program.partition(".")[2], search, each, _steps(median), ratio, _steps(spent)])
    return rows


def _steps(count: float) -> str:
    return "never" if math.isinf(count) else f"{count:,.0f}"


def main() -> None:
    """Run the benchmark as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--program", action="append", metavar="SET.FILE", help="default: four programs")
    parser.add_argument("--search", action="append", help="default: all")
    parser.add_argument("--seeds", type=int, default=len(SEEDS), help="how many (default: 3)")
    parser.add_argument("--jobs", type=int, default=2, help="worker processes (default: 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every trace there")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    options = parser.parse_args()
    from benchmarks.quality.searches import SEARCHES

    keys = [
        (program, seed, search)
        for program in options.program or PROGRAMS
        for seed in range(options.seeds)
        for search in options.search or SEARCHES
    ]
    traces = measured(keys, options.jobs)
    if options.json:
        record: list[dict[str, Any]] = [
            {"program": p, "seed": s, "search": name, **asdict(trace)}
            for (p, s, name), trace in traces.items()
        ]
        options.json.write_text(json.dumps(record) + "\n")
    rows = rows_of(steps_needed(traces), traces)
    if options.markdown:
        rows.insert(1, ["---"] * len(rows[0]))
        print("\n".join(f"| {' | '.join(row)} |" for row in rows))
        return
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


if __name__ == "__main__":
    main()
