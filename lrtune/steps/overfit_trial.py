"""Several learning rates trained side by side on one small sample, and what is known of each so far."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from lrtune.checks.fingerprints import may_be_bounded, may_be_squashed
from lrtune.checks.overfitting import Attempt, has_mode_gap, has_overfit
from lrtune.data.batches import FixedBatches
from lrtune.population.protocol import Member
from lrtune.probes.learning.attainable import accuracy_of
from lrtune.probes.learning.limits import limits
from lrtune.probes.losses.loss_family import ignored_index
from lrtune.results import Curve
from lrtune.steps.effort import USUAL, Effort

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.population.program import Program
    from lrtune.population.protocol import Evaluation, Population
    from lrtune.probes.learning.attainable import Attainable
    from lrtune.probes.learning.limits import Limits
    from lrtune.probes.losses.loss_family import LossFamily
    from lrtune.progress import Bar
    from lrtune.steps.context import Context

_FALLING = (
    0.1  # of the way left to the floor: squashed outputs and constants creep by less in half of the steps
)
_ACCURACY = "lrtune's accuracy"


class Trial:
    """The rates' tries at the sample.

    Args:
        context: The task made ready.
        batches: The sample.
        family: Which loss it is, None when unknown.
        aim: What the sample allows.
        mismatched: The sample with the inputs of other examples, None where it cannot be made.
        effort: What is tried.
    """

    def __init__(
        self,
        context: Context,
        batches: Sequence[Any],
        family: LossFamily | None,
        aim: Attainable,
        mismatched: list[Any] | None,
        effort: Effort = USUAL,
    ) -> None:
        self.curves = {rate: Curve() for rate in effort.rates}
        self._effort = effort
        self._context = context
        self._aim = aim
        self._batches = batches
        self.limits: Limits | None = None  # of the best model's outputs, where they are bounded
        self._steps = context.config.overfit.steps
        self._done = 0
        self._accuracy, program = _with_accuracy(context.program, family)
        sample = FixedBatches(list(batches))
        members = [Member(rate, 0.0, context.config.seed, context.config.seed) for rate in effort.rates]
        splits = {"sample": sample} | ({"mismatched": FixedBatches(mismatched)} if mismatched else {})
        self._splits = list(splits)
        self._population: Population = context.planner.population(
            members, sample, splits, self._steps, program
        )
        self._attempts: dict[float, Attempt] = {}

    @property
    def attempts(self) -> list[Attempt]:
        """One a rate, in the order of the rates."""
        return list(self._attempts.values())

    def run(self) -> None:
        """Train until one rate has learnt the sample, or the steps are used up, and look closer at the best."""
        self._measure()
        with self._context.progress.bar("overfitting a small sample", self._steps) as bar:
            while not self.succeeded and self._goes_on():
                self._advance(bar)
                self._drop_stopped(self._effort.going_on(self._done / self._steps))
            if not self.succeeded:
                self._look_at_inputs()
                self.limits = self._limits()
                return
            self._keep_best()
            while self._in_doubt() and self._goes_on():
                self._advance(bar)
                self._drop_stopped()
            self._press(bar)

    def _goes_on(self) -> bool:
        """Say whether there are steps to take, and members to take them."""
        return self._done < self._steps and bool(self._population.members)

    @property
    def still_falling(self) -> bool:
        """Whether the lowest loss of all tries came nearer to its floor in the second half than stalled ones do."""
        halves: tuple[list[float], list[float]] = [], []
        for curve in self.curves.values():
            for row in curve.evaluations:
                halves[(row["step"] or 0) > 0.5 * self._done].append(float(row["train_loss"] or 0.0))
        if not all(halves):
            return False
        first, second = map(min, halves)
        left = abs(first) if self._aim.loss is None else first - self._aim.loss
        return first - second > _FALLING * left

    def best(self) -> Attempt:
        """Return the try that learnt the sample, in fewest steps; else the one that came closest."""
        learnt = [attempt for attempt in self.attempts if has_overfit(attempt, self._aim)]
        alive = [attempt for attempt in self.attempts if attempt.diverged_at is None]
        return min(
            learnt or alive or self.attempts, key=lambda attempt: (-(attempt.accuracy or 0.0), attempt.loss)
        )

    @property
    def succeeded(self) -> bool:
        """Whether some rate has learnt the sample."""
        return any(has_overfit(attempt, self._aim) for attempt in self.attempts)

    def _in_doubt(self) -> bool:
        """Say whether the best, which has learnt the sample, shows what more steps may mend.

        Running statistics lag behind in the first steps; and all answers may be right at a loss that squashed
        outputs could reach as well.
        """
        best = self.best()
        return has_overfit(best, self._aim) and (
            has_mode_gap(best, self._aim) or may_be_squashed(best, self._aim)
        )

    def _press(self, bar: Bar) -> None:
        """Train on while bounds of the outputs hold the loss up: it stalls, or a wide range comes into sight."""
        known, self.limits = self.best(), self._limits()
        while may_be_bounded(self.limits, learnt=True) and self._goes_on():
            self._advance(bar)
            self._drop_stopped()
            if not has_overfit(self._attempts[known.learning_rate], self._aim):
                self._take_back(known)
                return
            self.limits = self._limits()

    def _take_back(self, known: Attempt) -> None:
        """Forget the steps after the sample was learnt: that it comes undone at this rate is no fault."""
        curve = self.curves[known.learning_rate]
        self._attempts[known.learning_rate] = known
        del curve.loss[known.steps :]
        curve.evaluations[:] = [row for row in curve.evaluations if (row["step"] or 0) <= known.steps]

    def _limits(self) -> Limits | None:
        """What bounds of the outputs, if any, mean for the member that does best."""
        members = self._population.members
        if not members:
            return None
        lowest = min(range(len(members)), key=lambda i: self._attempts[members[i].learning_rate].loss)
        context = self._context
        return limits(context.program, self._population.export(lowest), self._batches, context.config.seed)

    def _advance(self, bar: Bar) -> None:
        """Train as far as the next measurement, a step at a time for whoever watches a slow model, and measure."""
        end = min(self._done + self._effort.every, self._steps)
        block = end - self._done if self._effort is USUAL else 1
        while self._done < end:
            losses = self._population.advance(block).tolist()
            for member, row in zip(self._population.members, losses, strict=True):
                self.curves[member.learning_rate].loss.extend(loss for loss in row if math.isfinite(loss))
            self._done += block
            bar.advance(block)
        self._measure()

    def _measure(self) -> None:
        modes = [self._population.evaluate("sample", training_mode=mode) for mode in (False, True)]
        others = self._on_others() if self._aim.constant_loss is None else None
        for index, member in enumerate(self._population.members):
            rows = [_row(mode, index, self._accuracy) for mode in modes]
            self._note(member.learning_rate, rows, others[index] if others else None)

    def _on_others(self) -> list[float | None]:
        """Each member's loss with the inputs of other examples, in the mode that does better."""
        if "mismatched" not in self._splits:
            return [None] * len(self._population.members)
        modes = [self._population.evaluate("mismatched", training_mode=mode) for mode in (False, True)]
        lowest = torch.stack([mode.loss for mode in modes]).nan_to_num(nan=math.inf).amin(0)
        return [loss if math.isfinite(loss) else None for loss in lowest.tolist()]

    def _note(self, rate: float, rows: list[tuple[float, float | None]], other: float | None) -> None:
        before, curve = self._attempts.get(rate), self.curves[rate]
        loss, accuracy = _better(rows)
        if not math.isfinite(loss):
            first = before or Attempt(rate, math.nan, math.nan, None, None, 0)
            self._attempts[rate] = replace(first, diverged_at=len(curve.loss) + 1, steps=len(curve.loss))
            return
        self._attempts[rate] = Attempt(
            learning_rate=rate,
            loss_first=before.loss_first if before else loss,
            loss=loss,
            accuracy=accuracy,
            diverged_at=None,
            steps=self._done,
            mismatched=other,
            evaluation_loss=rows[0][0],
            evaluation_accuracy=rows[0][1],
        )
        row: dict[str, float | int | None] = {
            "epoch": self._done // len(self._batches),
            "step": self._done,
            "train_loss": loss,
        }
        curve.evaluations.append(row if accuracy is None else row | {"accuracy": accuracy})

    def _look_at_inputs(self) -> None:
        """Measure what the inputs of other examples cost the tries still there, where that is not known yet."""
        if self._aim.constant_loss is None or not self._population.members:
            return
        for member, other in zip(self._population.members, self._on_others(), strict=True):
            attempt = self._attempts[member.learning_rate]
            self._attempts[member.learning_rate] = replace(attempt, mismatched=other)

    def _keep_best(self) -> None:
        best, members = self.best(), self._population.members
        self._population.keep([i for i, m in enumerate(members) if m.learning_rate == best.learning_rate])

    def _drop_stopped(self, most: int | None = None) -> None:
        """Drop the members that have diverged, and of the others all but so many with the lowest losses."""
        members = self._population.members
        alive = [i for i, m in enumerate(members) if self._attempts[m.learning_rate].diverged_at is None]
        alive = sorted(alive, key=lambda i: self._attempts[members[i].learning_rate].loss)[:most]
        self._population.keep(sorted(alive))


def _with_accuracy(program: Program, family: LossFamily | None) -> tuple[str | None, Program]:
    """Return the name under which evaluations hold an accuracy, and the program that measures it."""
    accuracy = accuracy_of(family, ignored_index(program.task.loss)) or program.task.metrics.get("accuracy")
    metrics = {} if accuracy is None else {_ACCURACY: accuracy}
    return _ACCURACY if metrics else None, replace(program, task=replace(program.task, metrics=metrics))


def _row(evaluation: Evaluation, index: int, accuracy: str | None) -> tuple[float, float | None]:
    right = float(evaluation.metrics[accuracy][index]) if accuracy in evaluation.metrics else None
    return float(evaluation.loss[index]), right


def _better(rows: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    """Return loss and accuracy in the mode that does better.

    Dropout keeps training mode from the ceiling, young running statistics evaluation mode: neither is the model's
    fault here.
    """
    finite = [row for row in rows if math.isfinite(row[0])]
    return min(finite, key=lambda row: (-(row[1] or 0.0), row[0]), default=rows[0])
