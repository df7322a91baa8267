"""Optuna in one process: the grid enqueued as trials, each of them the plain loop with its `DataLoader`.

Every trial reports its validation loss after each epoch, and none is pruned: the others train every member to the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna
from benchmarks.grid.peers.plain_loop import train_member
from benchmarks.grid.workload import NotSameWorkError

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.grid.workload import Workload


def run(workload: Workload) -> list[float]:
    """Optimize a study in memory; return the validation losses by member."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.NopPruner())
    enqueue(study, workload)
    study.optimize(objective(workload), n_trials=len(workload.members))
    return losses_of(study, workload)


def enqueue(study: optuna.Study, workload: Workload) -> None:
    """Queue every cell of the grid."""
    for rate, decay in workload.members:
        study.enqueue_trial({"lr": rate, "weight_decay": decay})


def objective(workload: Workload) -> Callable[[optuna.Trial], float]:
    """Return the function that trains a trial."""
    task = workload.task()

    def train(trial: optuna.Trial) -> float:
        rate = trial.suggest_categorical("lr", workload.rates)
        decay = trial.suggest_categorical("weight_decay", workload.decays)
        return train_member(workload, task, rate, decay, trial.report)

    return train


def losses_of(study: optuna.Study, workload: Workload) -> list[float]:
    """Return the losses of a study in the members' order.

    Raises:
        NotSameWorkError: If other cells were trained, or one several times.
    """
    trials = study.get_trials(states=(optuna.trial.TrialState.COMPLETE,))
    found = {(trial.params["lr"], trial.params["weight_decay"]): trial.value for trial in trials}
    if len(trials) != len(workload.members) or set(found) != set(workload.members):
        raise NotSameWorkError(f"Optuna completed {len(trials)} trials of {len(found)} cells")
    return [found[member] for member in workload.members]
