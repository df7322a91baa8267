"""Compare what it costs to train a grid: plain loops, Optuna, Ray Tune and lrtune on the same work, in turn.

Run `python tests/benchmarks/grid/run.py --workload digits_mlp`; `--help` lists the options. Every peer trains every
member for all epochs, from the same initialisation on the same batches, and evaluates after each epoch. Each run is a
process of its own with one thread; within a round the peers follow each other, each round begins with another.

"seconds" is what the ratios are of. For peers that start processes it holds their start-up, whose own part can be
told from "grid" (first member's start to last member's end). Others are timed in a process that is warm: imported, and
run once on a few random examples. `cpu` shows who used more than one core.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
if str(HERE.parents[1]) not in sys.path:
    sys.path.insert(0, str(HERE.parents[1]))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # read when torch is loaded

from benchmarks.grid.agreement import agreement  # noqa: E402 - needs the path above
from benchmarks.grid.measure import Measured, Specification, measured  # noqa: E402
from benchmarks.grid.peer import PEERS, REFERENCE  # noqa: E402
from benchmarks.grid.table import print_rows  # noqa: E402
from benchmarks.grid.workload import Workload, load_workload, workload_names  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

HEADER = ("peer", "seconds", "range", "grid", "cpu", "peak MiB", "/ plain loop", "/ fastest", "losses")

Rounds = dict[str, list[Measured]]  # by peer


def compare(workload: str, peers: Sequence[str], rounds: int) -> Rounds:
    """Measure every peer once a round; one that has a problem is not measured again."""
    found: Rounds = {peer: [] for peer in peers}
    for index in range(rounds):
        first = index % len(peers)
        for peer in (*peers[first:], *peers[:first]):
            if any(done.problem for done in found[peer]):
                continue
            result = measured(Specification(peer, workload))
            found[peer].append(result)
            said = result.problem or f"{result.seconds:.2f} s"
            print(f"{workload}, round {index + 1}: {peer} {said}", file=sys.stderr, flush=True)
    return found


def median(runs: Sequence[Measured], name: str) -> float:
    """Return the median of an attribute."""
    return statistics.median(getattr(run, name) for run in runs)


def ratio(runs: Sequence[Measured], others: Sequence[Measured]) -> float:
    """Return the median over rounds of a peer's time to another's in the same round."""
    return statistics.median(run.seconds / other.seconds for run, other in zip(runs, others, strict=False))


def rows_of(found: Rounds, workload: Workload) -> list[tuple[str, ...]]:
    """Return a row a peer."""
    done = {peer: runs for peer, runs in found.items() if runs and not any(run.problem for run in runs)}
    fastest = min(done.values(), key=lambda runs: median(runs, "seconds"), default=[])
    reference = done.get(REFERENCE, fastest)
    rows = [HEADER]
    for peer, runs in found.items():
        if peer not in done:
            problem = next(run for run in runs if run.problem)
            said = f"{'skipped' if problem.skipped else 'FAILED'}: {' '.join(problem.problem.split())}"
            rows.append((peer, *["-"] * (len(HEADER) - 2), said))
            continue
        seconds = [run.seconds for run in runs]
        to_plain = f"{ratio(runs, done[REFERENCE]):.2f}" if REFERENCE in done else "-"
        rows.append(
            (
                peer,
                f"{statistics.median(seconds):.2f}",
                f"{min(seconds):.2f} to {max(seconds):.2f}",
                f"{median(runs, 'grid_seconds'):.2f}",
                f"{median(runs, 'cpu_seconds'):.2f}",
                f"{median(runs, 'peak_mebibytes'):.0f}",
                to_plain,
                f"{ratio(runs, fastest):.2f}",
                agreement(runs[0].losses, reference[0].losses, workload),
            )
        )
    return rows


def main() -> int:
    """Compare as the command line asks; return 1 where a peer failed or trained something else."""
    usual = [peer.name for peer in PEERS.values() if peer.usual]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workload", nargs="+", choices=workload_names(), default=workload_names())
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=usual)
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    everything, faults = {}, 0
    for name in options.workload:
        workload = load_workload(name)
        found = compare(name, options.peer, options.rounds)
        everything[name] = {peer: [asdict(run) for run in runs] for peer, runs in found.items()}
        rows = rows_of(found, workload)
        faults += sum(row[-1].startswith(("FAILED", "DIFFERS")) for row in rows)
        title = f"{name}: {len(workload.members)} members, {workload.epochs} epochs, n = {options.rounds}"
        print(f"\n## {title}\n" if options.markdown else f"\n== {title} ==")
        print_rows(rows, options.markdown)
        if options.json:
            options.json.write_text(json.dumps(everything, indent=1) + "\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
