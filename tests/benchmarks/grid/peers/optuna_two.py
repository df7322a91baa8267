"""Optuna in two processes that share a journal file: as `optuna_one`, half of the trials in each process."""

from __future__ import annotations

import multiprocessing
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
import torch
from benchmarks.grid.peers.optuna_one import enqueue, losses_of, objective
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

if TYPE_CHECKING:
    from benchmarks.grid.workload import Workload

PROCESSES = 2
STUDY = "grid"


def run(workload: Workload) -> list[float]:
    """Start the processes and wait for them; return the validation losses by member."""
    return run_timed(workload)[0]


def run_timed(workload: Workload) -> tuple[list[float], float]:
    """Return the losses, and the seconds from the first trial's start to the last one's end."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        journal = f"{folder}/journal.log"
        study = optuna.create_study(
            study_name=STUDY, storage=_storage(journal), pruner=optuna.pruners.NopPruner()
        )
        enqueue(study, workload)
        context = multiprocessing.get_context("spawn")
        shares = [len(workload.members[at::PROCESSES]) for at in range(PROCESSES)]
        workers = [context.Process(target=work, args=(workload, journal, share)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        losses = losses_of(study, workload)
        return losses, _seconds(study)


def work(workload: Workload, journal: str, trials: int) -> None:
    """Train a share of the trials, in a process of its own."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=STUDY, storage=_storage(journal), pruner=optuna.pruners.NopPruner())
    study.optimize(objective(workload), n_trials=trials)


def _storage(journal: str) -> JournalStorage:
    Path(journal).touch()
    return JournalStorage(JournalFileBackend(journal))


def _seconds(study: optuna.Study) -> float:
    starts = [trial.datetime_start for trial in study.trials if trial.datetime_start]
    ends = [trial.datetime_complete for trial in study.trials if trial.datetime_complete]
    return (max(ends) - min(starts)).total_seconds()
