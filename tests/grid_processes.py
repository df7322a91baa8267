"""Grids in processes of their own, some of which are killed: what several test files start and look at."""

from __future__ import annotations

import collections
import json
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import optuna

if TYPE_CHECKING:
    from pathlib import Path

# Each training step takes SLOW seconds and leaves a line that names its setting in trained.log.
TASK = """\
import os, pathlib, time
import lrtune, torch
from torch import nn
from torch.utils.data import TensorDataset

def data(count, seed):
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(3, (count,), generator=generator)
    centres = torch.tensor([[0.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    return TensorDataset(centres[target] + 0.5 * torch.randn(count, 2, generator=generator), target)

def optimizer(model, lr, weight_decay):
    made = torch.optim.SGD(model.parameters(), lr, weight_decay=weight_decay)
    made.register_step_post_hook(lambda *_: logged(lr, weight_decay))
    return made

def logged(lr, weight_decay):
    time.sleep(float(os.environ.get("SLOW", "0")))
    with pathlib.Path("trained.log").open("a") as log:
        log.write(f"{lr!r} {weight_decay!r}\\n")

def make_task(hidden=4):
    return lrtune.Task(
        model=lambda: nn.Sequential(nn.Linear(2, hidden), nn.ReLU(), nn.Linear(hidden, 3)),
        train=data(48, 0), val=data(24, 1), loss=nn.functional.cross_entropy, optimizer=optimizer,
    )
"""
STEPS = 3  # of a cell: one epoch of 48 examples
EXECUTION = "population: {execution: serial}"


class Grids:
    """A folder with a task and a config, and `lrtune` started in it.

    Args:
        folder: Where to.
        storage: What `storage:` says, None for the run directory's own study.
        cells: Of the coarse grid, which differ in a weight decay too small to matter, so that nothing is extended.
        more: Further lines of the config.
    """

    def __init__(self, folder: Path, storage: str | None = None, cells: int = 6, more: str = "") -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[str]] = []
        self.out = folder / "out"
        folder.mkdir(parents=True, exist_ok=True)
        self.decays = [
            float(f"{at}e-13") for at in range(cells)
        ]  # an axis that makes no difference is not extended
        self.cells = cells
        (folder / "slow.py").write_text(TASK)
        lines = [
            "task: slow.py:make_task",
            "device: cpu",
            "batch_size: 16",
            "run_dir: out",
            f"coarse: {{lr: [0.1], weight_decay: {self.decays}, epochs: 1}}",
            "refine: {trials: 6, epochs: 1, seeds: 1, sampler: random}",
            "workers: {heartbeat: 1, patience: 60}",
            EXECUTION,
            more,
        ]
        if storage is not None:
            lines.append(f"storage: {storage}")
        (folder / "slow.yaml").write_text("\n".join(lines) + "\n")

    def start(self, *arguments: str, slow: float = 0.0) -> subprocess.Popen[str]:
        """Start `lrtune` with some arguments in the folder."""
        process = subprocess.Popen(
            [sys.executable, "-m", "lrtune", *arguments],
            cwd=self.folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", "SLOW": str(slow)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        self.processes.append(process)
        return process

    def __enter__(self) -> Grids:
        """Return the folder."""
        return self

    def __exit__(self, *_: object) -> None:
        """End what a test that failed has left behind."""
        for process in self.processes:
            process.kill()
            process.communicate()

    def run(self, *arguments: str, slow: float = 0.0) -> tuple[int, str, str]:
        """Run `lrtune` to its end; return its code, its stdout and its stderr."""
        return ended(self.start(*arguments, slow=slow))

    def steps_of(self) -> collections.Counter[str]:
        """Return how many training steps each setting has taken, ever."""
        log = self.folder / "trained.log"
        return collections.Counter(log.read_text().splitlines() if log.exists() else [])

    def record(self, name: str = "coarse") -> dict[str, Any]:
        """Read a result of the run directory."""
        return json.loads((self.out / f"{name}.json").read_text())  # type: ignore[no-any-return]

    def assert_each_cell_once(self, storage: Any = None, name: str | None = None) -> None:
        """Assert that the result holds each cell once and whole, and that the study agrees."""
        record = self.record()
        assert record["complete"]
        trials = record["summary"]["trials"]
        assert sorted(trial["weight_decay"] for trial in trials) == sorted(self.decays)
        assert {trial["state"] for trial in trials} == {"complete"}
        assert {trial["steps"] for trial in trials} == {STEPS}
        names = {trial["curve"] for trial in trials}
        assert names == {path.stem for path in (self.out / "curves").glob("coarse-*")}
        assert len(names) == self.cells
        storage = storage or f"sqlite:///{self.out / 'study.db'}"
        (found,) = [
            one for one in optuna.get_all_study_names(storage) if name in (None, one) and "coarse" in one
        ]
        complete = [
            trial.user_attrs["lrtune:cell"]
            for trial in optuna.load_study(study_name=found, storage=storage).trials
            if trial.state == optuna.trial.TrialState.COMPLETE
        ]
        assert len(complete) == len(set(complete)) == self.cells


def ended(process: subprocess.Popen[str], patience: float = 200) -> tuple[int, str, str]:
    """Wait for a process; return its code, its stdout and its stderr."""
    out, err = process.communicate(timeout=patience)
    return process.returncode, out, err


def wait_until(condition: Any, patience: float = 60, what: str = "it") -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen"
        time.sleep(0.02)
