"""lrtune's own coarse grid with all that belongs to it: planning, and the loss on a sample of the training data.

That sample (1024 examples) and the losses at initialisation are evaluated by lrtune alone; they are in its time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.grid.workload import NotSameWorkError

import lrtune

if TYPE_CHECKING:
    from benchmarks.grid.workload import Workload


def run(workload: Workload, execution: str | None = None) -> list[float]:
    """Train the grid; return the validation losses by member.

    Args:
        workload: The grid.
        execution: Which one is asked for; None leaves the choice to lrtune.

    Raises:
        NotImplementedError: If this lrtune has no such execution.
        NotSameWorkError: If the grid extended itself, or a member diverged.
    """
    trials = lrtune.coarse_grid(workload.task(), _config(workload, execution)).summary["trials"]
    found = {(trial["lr"], trial["weight_decay"]): trial for trial in trials}
    if set(found) != set(workload.members):
        raise NotSameWorkError(f"lrtune trained {len(found)} cells of {len(workload.members)}")
    unfinished = [trial["state"] for trial in trials if trial["state"] != "complete"]
    if unfinished:
        raise NotSameWorkError(f"lrtune: {', '.join(unfinished)}")
    return [found[member]["val_loss"] for member in workload.members]


def _config(workload: Workload, execution: str | None) -> lrtune.Config:
    config = lrtune.Config(
        device="cpu",
        seed=workload.seed,
        batch_size=workload.batch_size,
        optimizer=dict(workload.optimizer),
        coarse={"lr": list(workload.rates), "weight_decay": list(workload.decays), "epochs": workload.epochs},
    )
    if execution is None:
        return config
    try:
        return config.updated(population={"execution": execution})
    except lrtune.ConfigError as error:
        raise NotImplementedError(str(error)) from None
