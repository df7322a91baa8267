"""Made-up but realistic results of every step, the same for the same seed."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from lrtune.results import Curve, Finding, StepResult

START = math.log(10)


def finding(code: str = "best-at-grid-edge", severity: str = "warning", **texts: Any) -> Finding:
    """Return a finding with every field filled."""
    fields: dict[str, Any] = {
        "message": "The best learning rate, 0.1, is the largest of the grid.",
        "measured": 0.1,
        "expected": "inside the grid",
        "fix": "Extend the grid: --set coarse.lr=[0.1,0.3,1.0].",
        "source": "Bengio 2012, section 3.3",
    }
    return Finding(code=code, severity=severity, **(fields | texts))  # type: ignore[arg-type]


def curve(lr: float, seed: int, steps: int = 300, epochs: int = 3, val: bool = True) -> Curve:
    """Return how a training at `lr` goes: too slow, well, noisily, or into divergence above 0.5."""
    noise = np.random.default_rng(seed)
    step = np.arange(steps)
    speed = 6 * lr / (1 + 4 * lr)
    mean = 0.12 + 0.05 * abs(math.log10(lr / 0.08)) + (START - 0.12) * np.exp(-speed * step / 8)
    loss: list[float | None] = [float(x) for x in mean * np.exp(noise.normal(0, 0.12 + lr / 2, steps))]
    if lr > 0.5:
        blow = 12 + seed % 9
        loss = [x * 1.5 ** max(0, i - 4) if x and i < blow else None for i, x in enumerate(loss)]
    rows = [_evaluation(e, steps, epochs, mean, lr, val) for e in range(epochs + 1)]
    return Curve(loss, rows[:1] if lr > 0.5 else rows)


def _evaluation(epoch: int, steps: int, epochs: int, mean: Any, lr: float, val: bool) -> dict[str, Any]:
    step = steps * epoch // epochs
    train = float(mean[min(step, steps - 1)])
    gap = 1.08 + 0.15 * epoch / epochs
    return {
        "epoch": epoch,
        "step": step,
        "train_loss": train,
        "val_loss": train * gap if val else None,
        "accuracy": 1 - train / 3,
    }


def trial(name: str, lr: float, decay: float, made: Curve, seed: int = 0) -> dict[str, Any]:
    """Return the trial that such a curve ends in."""
    end = made.evaluations[-1] if made.evaluations else {}
    diverged = None in made.loss
    return {
        "lr": lr,
        "weight_decay": decay,
        "val_loss": None if diverged else end.get("val_loss"),
        "train_loss": None if diverged else end.get("train_loss"),
        "metrics": {} if diverged else {"accuracy": end.get("accuracy")},
        "steps": len(made.loss),
        "state": "diverged" if diverged else "complete",
        "seed": seed,
        "curve": name,
    }


def check_init() -> StepResult:
    """Return a loss at initialisation near ln 10."""
    losses = np.random.default_rng(1).normal(START + 0.03, 0.05, 16)
    error = float(losses.std() / 4)
    return StepResult(
        "check-init",
        [],
        {
            "initial_loss": float(losses.mean()),
            "expected_low": START - 0.1,
            "expected_high": START + 0.23,
            "standard_error": error,
            "parameters": 109386,
            "initial_loss_eval": float(losses.mean()) - 0.002,
            "examples": 1024,
        },
        0.41,
        details={
            "batch_losses": [float(x) for x in losses],
            "expectation": "ln 10 for softmax cross-entropy over 10 classes",
        },
    )


def overfit() -> StepResult:
    """Return four rates, of which the largest diverges."""
    rates = (0.003, 0.03, 0.3, 3.0)
    curves = {f"overfit-{i:03d}": curve(lr, 40 + i, 300, 30) for i, lr in enumerate(rates)}
    for i, lr in enumerate(rates[:3]):
        made = curves[f"overfit-{i:03d}"]
        made.loss = [x * math.exp(-lr * s / 6) if x else None for s, x in enumerate(made.loss)]
    target = {"accuracy": 1.0, "loss": 0.01, "reason": "every label can be learnt"}
    members = [
        {
            "learning_rate": lr,
            "curve": name,
            "diverged_at": 12 if lr > 0.5 else None,
            "loss": made.loss[-1],
            "accuracy": None if lr > 0.5 else 1.0,
        }
        for lr, (name, made) in zip(rates, curves.items(), strict=True)
    ]
    return StepResult(
        "overfit",
        [],
        {"loss_first": START, "loss_last": 3e-4, "accuracy": 1.0, "learning_rate": 0.3, "steps": 300},
        1.7,
        details={"target": target, "members": members},
        curves=curves,
    )


PROBED = {0.0016: 2.1, 0.005: 1.6, 0.016: 0.8, 0.05: 0.3, 0.16: 0.25, 0.5: 0.6, 1.6: None, 5.0: None}
RULES = (0.02, 0.5, 0.06, 0.01, 0.011, None)
TOOLS = ("fastai valley", "fastai slide", "fastai minimum/10", "fastai steep", "torch-lr-finder", "Lightning")


def probed() -> StepResult:
    """Return a sweep with trainings at one rate each, two of which diverged, and the rates of other tools' rules."""
    result = find_lr()
    result.summary |= {"largest_stable": 0.6, "effective": 0.5}
    rates: list[dict[str, Any]] = [{"learning_rate": rate, "loss": loss} for rate, loss in PROBED.items()]
    for one in rates:
        one |= (
            {"steps": 12, "state": "diverged"} if one["loss"] is None else {"steps": 100, "state": "complete"}
        )
    probes = {"steps": 100, "initial_loss": 2.3, "split": "training subset", "rates": rates}
    result.details |= {"probes": probes, "rules": dict(zip(TOOLS, RULES, strict=True))}
    return result


def find_lr(repeats: int = 3) -> StepResult:
    """Return a sweep that falls from 1e-3 on and explodes at 1, as versions without probes stored it."""
    rates = np.geomspace(1e-7, 10, 100)
    sweeps = []
    for seed in range(repeats):
        noise = np.random.default_rng(seed).normal(0, 0.12, 100)
        fall = 1.6 / (1 + np.exp(-2.2 * (np.log10(rates) + 1.9)))
        smooth = START - fall + np.convolve(noise, np.ones(5) / 5, "same")
        smooth = smooth + 0.08 * np.exp(np.clip(8 * (np.log10(rates) - 0.1), -50, 40))
        values = [float(x) if r < 4 else None for x, r in zip(smooth, rates, strict=True)]
        sweeps.append(
            {"seed": seed, "loss": values, "smoothed": values, "suggestion": 0.05, "diverged_at": 1.6}
        )
    median = [
        None if any(x is None for x in column) else float(np.median(column))
        for column in zip(*(s["smoothed"] for s in sweeps), strict=True)  # type: ignore[arg-type]
    ]
    return StepResult(
        "find-lr",
        [finding("noisy-suggestion", "warning", message="The repeats differ by a factor of 4.2.")],
        {
            "suggestion": 0.05,
            "low": 0.012,
            "high": 0.18,
            "diverged_at": 1.6,
            "confidence": "high",
            "repeats": repeats,
            "gradient_steps": 100 * repeats,
        },
        2.2,
        details={"learning_rates": [float(r) for r in rates], "sweeps": sweeps, "median": median},
    )


def grid(step: str = "coarse-grid", val: bool = True) -> StepResult:
    """Return a coarse grid of 5 rates x 3 decays, or 20 refined trials."""
    if step == "coarse-grid":
        places = [(lr, d) for lr in (0.005, 0.0158, 0.05, 0.158, 0.6) for d in (0.0, 1e-5, 1e-4)]
        steps, epochs = 300, 3
    else:
        draw = np.random.default_rng(3)
        places = [
            (float(10 ** draw.uniform(-1.9, -0.35)), float(10 ** draw.uniform(-6, -3))) for _ in range(17)
        ]
        places += [(0.07, 0.0), (0.11, 0.0), (0.7, 3e-5)]
        steps, epochs = 1500, 15
    trials, curves = [], {}
    for i, (lr, decay) in enumerate(places):
        name = f"{step.split('-')[0]}-{i:03d}"
        curves[name] = curve(lr * (1 + 300 * decay), 10 * i, steps, epochs, val)
        trials.append(trial(name, lr, decay, curves[name]))
    return _ranked(step, trials, curves, epochs)


def _ranked(step: str, trials: list[Any], curves: dict[str, Curve], epochs: int) -> StepResult:
    trials.sort(key=lambda t: math.inf if t["train_loss"] is None else t["train_loss"])
    best = trials[0] if trials and trials[0]["state"] == "complete" else None
    details: dict[str, Any] = {"epochs": epochs, "initial_loss": START, "extended": []}
    if step == "refine-grid":
        repeats = {"coarse": [0.2], "refined": [0.19]}
        details = {"epochs": epochs, "repeats": repeats, "gain": 0.01, "noise": 0.004}
    return StepResult(step, [], {"best": best, "trials": trials}, 9.3, details=details, curves=curves)


def lone_trial() -> StepResult:
    """Return a grid of one trial with one step and no evaluation."""
    made = Curve([2.0], [])
    only = trial("coarse-000", 0.1, 0.0, made) | {"train_loss": 1.9}
    return StepResult("coarse-grid", [], {"best": only, "trials": [only]}, curves={"coarse-000": made})


def all_diverged(step: str = "coarse-grid") -> StepResult:
    """Return a grid in which nothing survived."""
    curves = {f"coarse-{i:03d}": curve(2.0 + i, i) for i in range(4)}
    trials = [trial(name, 2.0 + i, 0.0, made) for i, (name, made) in enumerate(curves.items())]
    said = {"message": "All 4 trials diverged.", "fix": "Lower the learning rates."}
    wrong = finding("all-diverged", "error", **said)
    return StepResult(step, [wrong], {"best": None, "trials": trials}, curves=curves)


def report(best: dict[str, Any] | None) -> StepResult:
    """Return the last step's result."""
    seen = finding(
        "overfitting",
        message="Validation loss rose from 0.18 to 0.21 while training loss fell.",
        fix="Stop at epoch 9, or raise weight decay.",
    )
    return StepResult("report", [seen], {"html": None, "best": best}, 0.2)


def recipe() -> dict[str, StepResult]:
    """Return the results of a whole run by step."""
    refined = grid("refine-grid")
    done = [check_init(), overfit(), probed(), grid(), refined, report(refined.summary["best"])]
    return {result.step: result for result in done}


CONTEXT: dict[str, Any] = {
    "version": "0.1.0",
    "command": "lrtune run configs/digits_mlp.yaml",
    "device": "cpu (AMD EPYC)",
    "seed": 0,
    "created": "2025-11-21 04:40",
    "config_yaml": "task: ../examples/digits_mlp.py:make_task\nseed: 0\nbatch_size: 64\n",
    "optimizer": {"name": "sgd", "momentum": 0.9},
    "task": "examples/digits_mlp.py:make_task",
    "stale": [],
    "missing": [],
}
