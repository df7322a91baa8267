"""Ray Tune: its grid search over the plain loop with its `DataLoader`, two trials at a time, none stopped early.

Ray's start and shutdown belong to a run; both are left out of the seconds that `run_timed` returns.
"""

from __future__ import annotations

import tempfile
import time
from typing import TYPE_CHECKING, Any

import ray
import torch
from benchmarks.grid.peers.plain_loop import train_member
from benchmarks.grid.workload import NotSameWorkError
from ray import tune

if TYPE_CHECKING:
    from benchmarks.grid.workload import Workload

PROCESSES = 2


def run(workload: Workload) -> list[float]:
    """Start Ray, fit a tuner and shut Ray down; return the validation losses by member."""
    return run_timed(workload)[0]


def run_timed(workload: Workload) -> tuple[list[float], float]:
    """Return the losses, and the seconds from the first trial's start to the last one's end."""
    ray.init(num_cpus=PROCESSES, include_dashboard=False, log_to_driver=False, logging_level="error")
    try:
        with tempfile.TemporaryDirectory() as folder:
            return _fitted(workload, folder)
    finally:
        ray.shutdown()


def _fitted(workload: Workload, folder: str) -> tuple[list[float], float]:
    tuner = tune.Tuner(
        tune.with_resources(tune.with_parameters(_train, workload=workload), {"cpu": 1}),
        param_space={
            "lr": tune.grid_search(list(workload.rates)),
            "weight_decay": tune.grid_search(list(workload.decays)),
        },
        tune_config=tune.TuneConfig(metric="val_loss", mode="min", max_concurrent_trials=PROCESSES),
        run_config=tune.RunConfig(storage_path=folder, verbose=0),
    )
    results = [result for result in tuner.fit() if result.metrics and "val_loss" in result.metrics]
    found = {(one.config["lr"], one.config["weight_decay"]): one.metrics for one in results}
    if set(found) != set(workload.members):
        raise NotSameWorkError(f"Ray Tune completed {len(found)} cells")
    rows = [found[member] for member in workload.members]
    unfinished = sum(row["training_iteration"] != workload.epochs for row in rows)
    if unfinished:
        raise NotSameWorkError(f"Ray Tune left {unfinished} members unfinished")
    seconds = max(row["now"] for row in rows) - min(row["started"] for row in rows)
    return [row["val_loss"] for row in rows], seconds


def _train(config: dict[str, Any], workload: Workload) -> None:
    started = time.time()
    torch.set_num_threads(1)
    train_member(
        workload,
        workload.task(),
        config["lr"],
        config["weight_decay"],
        lambda loss, epoch: tune.report({"val_loss": loss, "started": started, "now": time.time()}),
    )
