"""Step 2: learn a few minibatches by heart, at several rates side by side before the model is blamed."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks import overfitting
from lrtune.checks.gradients import detached_loss, frozen_model
from lrtune.checks.overfitting import Attempt, has_overfit
from lrtune.data.batches import FixedBatches
from lrtune.data.nest import example_count
from lrtune.errors import TaskError
from lrtune.population.planner import make_population
from lrtune.population.protocol import Evaluation, Member, Population
from lrtune.probes.attainable import Attainable, accuracy_of, attainable
from lrtune.probes.initialisation import first_outcome, gradients
from lrtune.probes.loss_family import LossFamily, declared_family, ignored_index, matching_family
from lrtune.probes.mismatched import mismatched
from lrtune.random_state import seeded
from lrtune.results import Curve, Finding, StepResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.program import Program
    from lrtune.steps.context import Context

RATES = tuple(
    10 ** (half_decade / 2) for half_decade in range(-8, 1)
)  # 1e-4 to 1: what any optimizer is run at
_CHECK_EVERY = 25  # steps between measurements on the whole sample
_HOPEFUL = 4  # rates that go on after a quarter of the steps
_ACCURACY = "lrtune's accuracy"


def overfit(context: Context) -> StepResult:
    """Train on a few minibatches until one rate has learnt them, without weight decay.

    Raises:
        TaskError: If the task's parts do not fit together.
        UserCodeError: If the user's code raises.
    """
    config = context.config
    batches = context.data.train.head(config.overfit.batches, config.seed)
    if not batches:
        raise TaskError("Task.train: gave no batch at all")
    if wiring := _wiring_faults(context, batches[0]):
        return StepResult("overfit", wiring, _summary(None, 0))
    family, aim, others = _aim(context, batches)
    trial = _Trial(context, batches, family, aim, others)
    trial.run()
    return trial.result()


def _wiring_faults(context: Context, batch: Any) -> list[Finding]:
    with seeded(context.config.seed):
        model = context.program.build_model()
    outcome = first_outcome(context.program, model, batch, context.config.seed)
    if outcome.loss.requires_grad:
        return []
    reached = gradients(model, [outcome])
    return [found for found in (frozen_model(reached), detached_loss(reached)) if found]


def _aim(context: Context, batches: Sequence[Any]) -> tuple[LossFamily | None, Attainable, list[Any] | None]:
    """Return the loss's family, what the sample allows, and where no loss tells that, the sample mismatched."""
    program, seed = context.program, context.config.seed
    with seeded(seed):
        model = program.build_model()
    with torch.no_grad():
        outcomes = [first_outcome(program, model, batch, seed) for batch in batches]
    first, own = outcomes[0], context.task.loss
    family = declared_family(own) or matching_family(float(first.scalar), first.output, first.target)
    aim = attainable(context.task, family, [(o.output, o.target) for o in outcomes], batches)
    parameters = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    aim = replace(aim, parameters=parameters, examples=sum(map(example_count, batches)))
    if aim.constant_loss is not None:
        return family, aim, None
    return family, aim, mismatched(program, model, batches, [o.target for o in outcomes], seed)


class _Trial:
    """The rates' tries at the sample, and what is known of each so far."""

    def __init__(
        self,
        context: Context,
        batches: Sequence[Any],
        family: LossFamily | None,
        aim: Attainable,
        mismatched: list[Any] | None,
    ) -> None:
        self._context = context
        self._aim = aim
        self._batches = len(batches)
        self._steps = context.config.overfit.steps
        self._accuracy, program = _with_accuracy(context.program, family)
        sample = FixedBatches(list(batches))
        members = [Member(rate, 0.0, context.config.seed, context.config.seed) for rate in RATES]
        splits = {"sample": sample} | ({"mismatched": FixedBatches(mismatched)} if mismatched else {})
        self._splits = list(splits)
        self._population: Population = make_population(program, members, sample, splits)
        self._curves = {member.learning_rate: Curve() for member in members}
        self._attempts: dict[float, Attempt] = {}

    def run(self) -> None:
        self._measure(0)
        done = 0
        with self._context.progress.bar("overfitting a small sample", self._steps) as bar:
            while done < self._steps and self._population.members and not self._succeeded():
                block = min(_CHECK_EVERY, self._steps - done)
                self._record(self._population.advance(block).tolist())
                done += block
                self._measure(done)
                self._drop_stopped(hopeful_only=done >= self._steps / 4)
                bar.advance(block)

    def result(self) -> StepResult:
        attempts = list(self._attempts.values())
        found = [
            overfitting.loss_explodes(attempts),
            overfitting.cannot_overfit(attempts, self._aim, self._batches),
        ]
        best = self._best()
        names = {rate: f"overfit-{index:03d}" for index, rate in enumerate(self._curves)}
        members = [
            {
                "learning_rate": attempt.learning_rate,
                "curve": names[attempt.learning_rate],
                "diverged_at": attempt.diverged_at,
                "loss": attempt.loss,
                "accuracy": attempt.accuracy,
            }
            for attempt in attempts
        ]
        target = {
            "accuracy": self._aim.accuracy,
            "loss": overfitting.loss_aim(best, self._aim),
            "reason": overfitting.aim_text(best, self._aim),
        }
        details = {"target": target, "members": members, "batches": self._batches}
        curves = {names[rate]: curve for rate, curve in self._curves.items()}
        findings = [finding for finding in found if finding]
        return StepResult("overfit", findings, _summary(best, best.steps), details=details, curves=curves)

    def _succeeded(self) -> bool:
        return any(has_overfit(attempt, self._aim) for attempt in self._attempts.values())

    def _best(self) -> Attempt:
        """The try that learnt the sample, in fewest steps; else the one that came closest."""
        learnt = [attempt for attempt in self._attempts.values() if has_overfit(attempt, self._aim)]
        alive = [attempt for attempt in self._attempts.values() if attempt.diverged_at is None]
        return min(
            learnt or alive or list(self._attempts.values()),
            key=lambda attempt: (-(attempt.accuracy or 0.0), attempt.loss),
        )

    def _record(self, losses: list[list[float]]) -> None:
        for member, row in zip(self._population.members, losses, strict=True):
            finite = [loss for loss in row if math.isfinite(loss)]
            self._curves[member.learning_rate].loss.extend(finite)

    def _measure(self, step: int) -> None:
        evaluation = self._population.evaluate("sample")
        in_training = self._population.evaluate("sample", training_mode=True)
        others = self._mismatched()
        for index, member in enumerate(self._population.members):
            measured = _better(evaluation, in_training, index, self._accuracy)
            self._note(member.learning_rate, step, measured, others[index])

    def _mismatched(self) -> list[float | None]:
        """Each member's loss with the inputs of other examples, in the mode that does better."""
        if "mismatched" not in self._splits:
            return [None] * len(self._population.members)
        modes = [self._population.evaluate("mismatched", training_mode=mode) for mode in (False, True)]
        lowest = torch.stack([mode.loss for mode in modes]).nan_to_num(nan=math.inf).amin(0)
        return [loss if math.isfinite(loss) else None for loss in lowest.tolist()]

    def _note(
        self, rate: float, step: int, measured: tuple[float, float | None], other: float | None
    ) -> None:
        loss, accuracy = measured
        before = self._attempts.get(rate)
        curve = self._curves[rate]
        if not math.isfinite(loss):
            first = before or Attempt(rate, math.nan, math.nan, None, None, 0)
            self._attempts[rate] = replace(first, diverged_at=len(curve.loss) + 1, steps=len(curve.loss))
            return
        self._attempts[rate] = Attempt(
            rate, before.loss_first if before else loss, loss, accuracy, None, step, other
        )
        row: dict[str, float | int | None] = {
            "epoch": step // self._batches,
            "step": step,
            "train_loss": loss,
        }
        curve.evaluations.append(row if accuracy is None else row | {"accuracy": accuracy})

    def _drop_stopped(self, hopeful_only: bool) -> None:
        members = self._population.members
        alive = [i for i, m in enumerate(members) if self._attempts[m.learning_rate].diverged_at is None]
        if hopeful_only:
            alive = sorted(alive, key=lambda i: self._attempts[members[i].learning_rate].loss)[:_HOPEFUL]
        self._population.keep(sorted(alive))


def _with_accuracy(program: Program, family: LossFamily | None) -> tuple[str | None, Program]:
    """Return the name under which evaluations hold an accuracy, and the program that measures it."""
    accuracy = accuracy_of(family, ignored_index(program.task.loss)) or program.task.metrics.get("accuracy")
    if accuracy is None:
        return None, replace(program, task=replace(program.task, metrics={}))
    return _ACCURACY, replace(program, task=replace(program.task, metrics={_ACCURACY: accuracy}))


def _better(
    evaluation: Evaluation, in_training: Evaluation, index: int, accuracy: str | None
) -> tuple[float, float | None]:
    """Return loss and accuracy in the mode that does better.

    Dropout keeps training mode from the ceiling, young running statistics evaluation mode: neither is the model's
    fault here.
    """
    rows = []
    for measured in (evaluation, in_training):
        right = float(measured.metrics[accuracy][index]) if accuracy in measured.metrics else None
        rows.append((float(measured.loss[index]), right))
    finite = [row for row in rows if math.isfinite(row[0])]
    return min(finite, key=lambda row: (-(row[1] or 0.0), row[0]), default=rows[0])


def _summary(best: Attempt | None, steps: int) -> dict[str, Any]:
    return {
        "loss_first": best.loss_first if best else None,
        "loss_last": best.loss if best else None,
        "accuracy": best.accuracy if best else None,
        "learning_rate": best.learning_rate if best else None,
        "steps": steps,
    }
