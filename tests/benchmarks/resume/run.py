"""A grid of 24 cells, killed at random moments and resumed: is each cell complete exactly once, and what is redone?

    python tests/benchmarks/resume/run.py [--kills 20] [--seed 0] [--storage journal:study.log]

Each kill is `kill -9` of `lrtune grid --coarse`, at a moment drawn between its start and twice the time that a cell
takes after it has begun to train. After each, every JSON file must parse and the study must be sound; after the last,
the grid is resumed to its end, and compared with one that was never interrupted.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from grid_processes import STEPS, Grids, ended

CELLS = 24
SLOW = 0.05  # seconds of a training step
GRID = ("grid", "--coarse", "slow.yaml", "--json")


def killed(grids: Grids, draw: random.Random) -> tuple[float, int, int]:
    """Start a grid, kill it; return after how many seconds, the steps that it took, and the cells stored by then."""
    before = sum(grids.steps_of().values())
    process = grids.start(*GRID, slow=SLOW)
    started = time.monotonic()
    if draw.random() < 0.75:  # else while it loads, opens its study or takes its first cell
        while sum(grids.steps_of().values()) == before and process.poll() is None:
            time.sleep(0.005)
    time.sleep(draw.uniform(0, 2 * STEPS * SLOW))
    process.send_signal(signal.SIGKILL)
    ended(process)
    return time.monotonic() - started, sum(grids.steps_of().values()) - before, stored(grids)


def stored(grids: Grids) -> int:
    """Return how many cells the run directory holds; every file must be whole."""
    for path in grids.out.glob("*.json"):
        json.loads(path.read_text())
    if (grids.out / "study.db").exists():
        with sqlite3.connect(grids.out / "study.db") as database:
            assert database.execute("pragma integrity_check").fetchone() == ("ok",)
        database.close()
    return len(grids.record()["summary"]["trials"]) if (grids.out / "coarse.json").exists() else 0


def main() -> None:
    """Print a line a kill, and what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--storage", default=None)
    options = parser.parse_args()
    draw = random.Random(options.seed)
    with (
        tempfile.TemporaryDirectory() as folder,
        Grids(Path(folder, "killed"), options.storage, CELLS) as grids,
    ):
        print(f"{'kill':>4} {'after':>7} {'steps':>6} {'stored':>7}")
        for kill in range(1, options.kills + 1):
            seconds, steps, cells = killed(grids, draw)
            print(f"{kill:>4} {seconds:>6.2f}s {steps:>6} {cells:>4}/{CELLS}", flush=True)
        code, _, err = grids.run(*GRID)
        assert code == 0, err
        if options.storage is None:
            grids.assert_each_cell_once()
        with Grids(Path(folder, "straight"), None, CELLS) as straight:
            assert straight.run(*GRID)[0] == 0
            same = straight.record()["summary"] == grids.record()["summary"]
        extra = sum(grids.steps_of().values()) / STEPS - CELLS
        print(
            f"{options.kills} kills, seed {options.seed}: {CELLS} cells complete, each once; the result is "
            f"{'the same as' if same else 'ANOTHER THAN'} that of a grid never interrupted; work redone: "
            f"{extra:.1f} cells ({extra / max(options.kills, 1):.2f} a kill, never more than the one in training)"
        )


if __name__ == "__main__":
    main()
