from __future__ import annotations

import json
import random
import signal
import sqlite3
from functools import partial
from typing import TYPE_CHECKING

import pytest
from grid_processes import STEPS, Grids, ended, wait_until

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

GRID = ("grid", "--coarse", "slow.yaml", "--json")


def _has_come_to(grids: Grids, process: subprocess.Popen[str], steps: int) -> bool:
    return sum(grids.steps_of().values()) >= steps or process.poll() is not None


@pytest.mark.parametrize("seed", range(2))
def test_a_grid_that_is_killed_at_any_moment_goes_on(tmp_path: Path, seed: int) -> None:
    """Killed several times, the grid ends with each cell complete once; at most the cell in training is redone."""
    with Grids(tmp_path) as grids:
        draw = random.Random(seed)
        kills = 2
        for _ in range(kills):
            process = grids.start(*GRID, slow=0.05)
            until = sum(grids.steps_of().values()) + draw.randint(1, 2 * STEPS)
            wait_until(partial(_has_come_to, grids, process, until))
            process.send_signal(signal.SIGKILL)
            ended(process)
            for path in grids.out.glob("*.json"):
                json.loads(path.read_text())
            with sqlite3.connect(grids.out / "study.db") as database:
                assert database.execute("pragma integrity_check").fetchone() == ("ok",)
            database.close()
        code, out, err = grids.run(*GRID)
        assert code == 0, err
        assert json.loads(out)["summary"] == grids.record()["summary"]
        grids.assert_each_cell_once()
        assert sum(grids.steps_of().values()) <= (grids.cells + kills) * STEPS
