"""A refined search of many trials: seconds a trial, and to list, resume and report; memory.

    python tests/benchmarks/scale/run.py [--trials 100,300,1000] [--sampler random]

Training is next to nothing: two steps. Each size is a process of its own. *train* is what the search took, and beside
it a trial's share; *list* reads all trials from the study; *resume* opens the finished search again and finds nothing
left; *report* writes the page. *memory* is the largest resident set, and *grown* what the search added to it after one
of five trials.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.recipe import Recipe

COLUMNS = ("trials", "train s", "ms a trial", "list s", "resume s", "report s", "memory MiB", "grown MiB")


def recipes(trials: int, sampler: str, folder: str) -> Callable[[], Recipe]:
    """Return what opens a search of so many tiny trainings, of the same task each time."""
    import torch
    from torch.utils.data import TensorDataset

    import lrtune
    from lrtune.recipe import Recipe

    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(64, 2, generator=generator)
    data = TensorDataset(inputs, (inputs.sum(1) > 0).long())
    loss = torch.nn.functional.cross_entropy
    task = lrtune.Task(model=lambda: torch.nn.Linear(2, 2), train=data, val=data, loss=loss)
    config = lrtune.Config(
        batch_size=64,
        run_dir=folder,
        device="cpu",
        population={"execution": "serial"},
        coarse={"lr": [0.01, 0.1, 1.0], "weight_decay": [0.0], "epochs": 1},
        refine={"trials": trials, "epochs": 2, "seeds": 1, "sampler": sampler},
    )
    return lambda: Recipe(task, config)


def listed(folder: str) -> float:
    """Return the seconds that reading all trials from the study takes."""
    import optuna

    from lrtune.study.place import StudyPlace
    from lrtune.study.queue import TrialQueue

    path = str(Path(folder) / "study.db")
    (name,) = [one for one in optuna.get_all_study_names(f"sqlite:///{path}") if one.startswith("refine")]
    queue = TrialQueue(StudyPlace(path, name), create=False)
    seconds = timed(queue.told)
    queue.close()
    return seconds


def timed(work: Any) -> float:
    """Return the seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def memory() -> float:
    """Return the largest resident set so far, in MiB (Linux counts it in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measured(trials: int, sampler: str) -> list[float]:
    """Return a line of the table."""
    with tempfile.TemporaryDirectory() as small, tempfile.TemporaryDirectory() as folder:
        recipes(5, sampler, small)().step("refine-grid")
        before, opened = memory(), recipes(trials, sampler, folder)
        train = timed(lambda: opened().step("refine-grid"))
        grown = memory() - before
        resume = timed(lambda: opened().step("refine-grid"))
        found = listed(folder)
        report = timed(lambda: opened().step("report"))
        return [trials, train, 1000 * train / trials, found, resume, report, memory(), grown]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", default="100,300,1000")
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--one", type=int, help="measure one size, and print it as JSON")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measured(given.one, given.sampler)))
        return
    print("| " + " | ".join(COLUMNS) + " |\n|" + "---|" * len(COLUMNS))
    for trials in given.trials.split(","):
        command = [sys.executable, __file__, "--one", trials, "--sampler", given.sampler]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        line = json.loads(done.stdout.splitlines()[-1])
        print("| " + " | ".join(f"{value:.4g}" for value in line) + " |", flush=True)


if __name__ == "__main__":
    main()
