"""How the cost of a grid grows with its members and with the data: lrtune's executions beside plain loops.

Run `python tests/benchmarks/grid/growth.py`; `--help` lists the options, and `--chart FILE.png` draws what is measured.
For each size the peers follow each other, each in a process of its own. Memory added is what a run added to its
process's peak, imports and data left out; the peak is that of the process or of the largest that it started, which for
workers is where the members are. The members of a size share one rate and differ in decays too small to matter, so
that every one costs the same.
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

from benchmarks.grid.growth_chart import save_growth  # noqa: E402 - needs the path above
from benchmarks.grid.measure import Measured, Specification, measured  # noqa: E402
from benchmarks.grid.peer import PEERS  # noqa: E402
from benchmarks.grid.table import print_rows  # noqa: E402
from benchmarks.grid.workload import workload_names  # noqa: E402

from lrtune.charts.save import SUFFIXES  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

MEMBERS = (1, 2, 4, 8, 16, 32, 64)
EXAMPLES = (1_000, 4_000, 16_000, 64_000, 256_000)
USUAL = ("plain_loop", "resident_loop", "lrtune_serial", "lrtune_fused", "lrtune_sharded", "lrtune_grid")
_FEW = 4  # members while the data grow


def specifications(peer: str, options: argparse.Namespace) -> list[Specification]:
    """Return what is measured of a peer: a specification a size."""
    if options.axis == "members":
        return [Specification(peer, options.workload, size, None, options.epochs) for size in options.sizes]
    return [Specification(peer, options.workload, _FEW, size, options.epochs) for size in options.sizes]


def measure_all(options: argparse.Namespace) -> dict[str, list[list[Measured]]]:
    """Return by peer, for each size, the rounds; a peer with a problem is not measured further."""
    wanted = {peer: specifications(peer, options) for peer in options.peer}
    found: dict[str, list[list[Measured]]] = {peer: [[] for _ in options.sizes] for peer in options.peer}
    stopped: set[str] = set()
    for at, size in enumerate(options.sizes):
        for _ in range(options.rounds):
            for peer in options.peer:
                if peer in stopped:
                    continue
                result = measured(wanted[peer][at])
                found[peer][at].append(result)
                said = result.problem or f"{result.seconds:.2f} s, {result.added_mebibytes:.0f} MiB"
                print(f"{options.axis} {size}: {peer} {said}", file=sys.stderr, flush=True)
                if result.problem:
                    stopped.add(peer)
    return found


def rows_of(
    found: dict[str, list[list[Measured]]], options: argparse.Namespace, name: str, digits: int
) -> list[tuple[str, ...]]:
    """Return a row a size with each peer's median of an attribute."""
    rows = [(options.axis, *found)]
    for at, size in enumerate(options.sizes):
        cells = (_cell(runs[at], name, digits) for runs in found.values())
        rows.append((str(size), *cells))
    return rows


def _cell(runs: Sequence[Measured], name: str, digits: int) -> str:
    if not runs or any(run.problem for run in runs):
        return "-"
    return f"{statistics.median(getattr(run, name) for run in runs):.{digits}f}"


def main() -> None:
    """Measure as the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--axis", choices=("members", "examples"), default="members", help="what grows")
    parser.add_argument("--sizes", type=int, nargs="+", metavar="N", help="of the axis")
    parser.add_argument(
        "--workload", choices=workload_names(), help="digits_mlp, or tabular_mlp for examples"
    )
    parser.add_argument("--peer", nargs="+", choices=PEERS, default=USUAL)
    parser.add_argument("--epochs", type=int, default=1, help="of each member (default: 1)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is timed (default: 3)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw it there (.png, .svg, .html, .json)")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    options = parser.parse_args()
    if options.chart and options.chart.suffix not in SUFFIXES:
        parser.error(f"--chart: expected a file ending in {', '.join(SUFFIXES)}, got {options.chart}")
    by_members = options.axis == "members"
    options.sizes = options.sizes or (MEMBERS if by_members else EXAMPLES)
    options.workload = options.workload or ("digits_mlp" if by_members else "tabular_mlp")
    found = measure_all(options)
    for name, digits in (("seconds", 2), ("added_mebibytes", 0), ("peak_mebibytes", 0)):
        title = f"{options.workload}: {name.replace('_', ' ')} by {options.axis}, n = {options.rounds}"
        print(f"\n## {title}\n" if options.markdown else f"\n== {title} ==")
        print_rows(rows_of(found, options, name, digits), options.markdown)
    for peer, sizes in found.items():
        for problem in (run.problem for runs in sizes for run in runs if run.problem):
            print(f"{peer}: {problem}")
    if options.json:
        written = {peer: [[asdict(run) for run in runs] for runs in sizes] for peer, sizes in found.items()}
        options.json.write_text(json.dumps({"sizes": options.sizes, "peers": written}, indent=1) + "\n")
    if options.chart:
        save_growth(found, options.sizes, options.workload, options.axis, options.chart)


if __name__ == "__main__":
    main()
