"""The searches that are compared: one function each, from a program and a seed to a `Trace`.

All of them train the same models by the same optimizer on the same batches, through lrtune's engine, so that only the
choice of settings differs. The peers search wide ranges, as someone does who knows nothing of the program.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import optuna
from benchmarks.quality.trace import Trace

import lrtune
from lrtune.population.protocol import Member
from lrtune.population.serial import SerialPopulation
from lrtune.progress import Silent
from lrtune.steps.context import open_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.learning_rate.case import Case

RATES = (1e-7, 10.0)  # find-lr's own range
DECAYS = (1e-7, 1e-1)
TRIALS, EPOCHS = 40, 15
_WARM_UP = 2  # epochs that no trial is pruned in


def lrtune_recipe(case: Case, seed: int) -> Trace:
    """Walk the whole recipe with its default settings; every gradient step of steps 2 to 5 counts."""
    config = lrtune.Config(device="cpu", seed=seed, **{**case.config, "coarse": {}})
    done = {step.step: step for step in lrtune.run(case.task(), config, keep_going=True).steps}
    trace = Trace()
    trace.pay(sum(len(curve.loss) for curve in done["overfit"].curves.values()))
    trace.pay(done["find-lr"].summary["gradient_steps"])
    for grid in ("coarse-grid", "refine-grid"):
        curves = done[grid].curves
        for name in sorted(curves):  # numbered as they were trained
            before = 0
            for row in curves[name].evaluations:
                if row["epoch"] == 0:
                    trace.initial = float(row["val_loss"] or math.nan)
                    continue
                trace.evaluated(int(row["step"] or 0) - before, row["val_loss"])
                before = int(row["step"] or 0)
    return trace


def tpe_median(case: Case, seed: int) -> Trace:
    """Optuna's default sampler, with the pruner that its tutorials use."""
    pruner = optuna.pruners.MedianPruner(n_warmup_steps=_WARM_UP)
    return _searched(case, seed, optuna.samplers.TPESampler(seed=seed), pruner)


def random_search(case: Case, seed: int) -> Trace:
    """Settings at random (Bergstra and Bengio, 2012), each trained to the end."""
    return _searched(case, seed, optuna.samplers.RandomSampler(seed=seed), optuna.pruners.NopPruner())


# A new search: one function above, one line here.
SEARCHES: dict[str, Callable[[Case, int], Trace]] = {
    "lrtune": lrtune_recipe,
    "Optuna TPE + MedianPruner": tpe_median,
    "random search": random_search,
}


def _searched(
    case: Case, seed: int, sampler: optuna.samplers.BaseSampler, pruner: optuna.pruners.BasePruner
) -> Trace:
    config = lrtune.Config(device="cpu", seed=seed, **case.config)
    context = open_context(case.task(), config, Silent(), lambda name, role: None)  # type: ignore[arg-type,return-value]
    data = context.data
    assert data.val is not None
    per_epoch, trace = data.train.counted(), Trace()

    def train(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("lr", *RATES, log=True)
        decay = trial.suggest_float("weight_decay", *DECAYS, log=True)
        member = Member(rate, decay, seed, seed)
        population = SerialPopulation(context.program, [member], data.train, {"val": data.val})
        trace.initial = float(population.evaluate("val").loss[0])
        loss = math.nan
        for epoch in range(1, EPOCHS + 1):
            taken = int(population.advance(per_epoch).isfinite().sum())
            loss = float(population.evaluate("val").loss[0])
            trace.evaluated(taken, loss)
            if not math.isfinite(loss):
                raise optuna.TrialPruned
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(sampler=sampler, pruner=pruner).optimize(train, n_trials=TRIALS)
    return trace
