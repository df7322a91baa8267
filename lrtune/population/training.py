"""Whole trainings: members through a number of epochs, measured after each; the engine's part of every grid."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from lrtune.data.batches import FixedBatches
from lrtune.errors import UserCodeError
from lrtune.population.memory import ran_out_of_memory
from lrtune.results import Curve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from lrtune.data.batches import Batches
    from lrtune.data.source import TaskData
    from lrtune.population.planner import Planner
    from lrtune.population.protocol import Evaluation, Member, Population


@dataclass
class Run:
    """One member's training as far as it has come.

    Attributes:
        member: What is trained.
        curve: Its losses, and its evaluations at initialisation and after each epoch.
        steps: Gradient steps taken.
        diverged: Whether its loss stopped being finite.
        failure: What the user's code raised in it, if it did.
        finished: Whether it has come to its end: all epochs, a divergence or a failure.
    """

    member: Member
    curve: Curve = field(default_factory=Curve)
    steps: int = 0
    diverged: bool = False
    failure: Exception | None = None
    finished: bool = False

    def last(self, name: str) -> float | None:
        """Return the last finite value of a column of the evaluations."""
        values = [row.get(name) for row in self.curve.evaluations]
        return next((value for value in reversed(values) if value is not None), None)


def train_members(
    planner: Planner,
    members: Sequence[Member],
    data: TaskData,
    epochs: int,
    on_steps: Callable[[int], None] = lambda steps: None,
) -> Iterator[Run]:
    """Train members, yielding each `Run` when it has finished.

    Members are dealt into groups that fit in memory; within a group they advance side by side, an epoch at a time. A
    group that runs out of memory all the same is halved, and what it had not finished begins anew.
    On an interruption the runs under way are lost, those yielded are not.

    Args:
        planner: Says how members are trained.
        members: The configurations.
        data: Training and validation batches.
        epochs: Passes over the training data.
        on_steps: Told the member-steps done, for progress.

    Raises:
        UserCodeError: If reading the data raises. What a member raises is its run's `failure`.
    """
    if not members:
        return
    splits: dict[str, Batches] = {"train": FixedBatches(data.training_subset())}
    if data.val is not None:
        splits["val"] = data.val
    per_epoch = data.train.counted()
    steps = per_epoch * epochs
    size = planner.group_size(members, data.train, steps)
    waiting = deque(members[start : start + size] for start in range(0, len(members), size))
    while waiting:
        group = list(waiting.popleft())
        population: Population | None = None
        try:
            population = planner.population(group, data.train, splits, steps)
            for run in _train_group(population, list(splits), per_epoch, epochs, on_steps):
                group.remove(run.member)
                yield run
        except Exception as error:
            if len(group) < 2 or not ran_out_of_memory(error):
                raise
            del population  # whose memory the halves need
            half = len(group) // 2
            waiting.extendleft((group[half:], group[:half]))
            planner.note(f"out of memory: training {half} members at a time")


def _train_group(
    population: Population, splits: list[str], per_epoch: int, epochs: int, on_steps: Callable[[int], None]
) -> Iterator[Run]:
    runs = [Run(member) for member in population.members]
    _measure(population, runs, splits, epoch=0)
    for epoch in range(1, epochs + 1):
        losses = _advanced(population, per_epoch)
        on_steps(per_epoch * len(runs))
        for run, row in zip(runs, losses, strict=True):
            _record(run, row)
        _measure(population, runs, splits, epoch)
        for run, failure in zip(runs, population.failures, strict=True):
            run.failure = failure
            run.diverged = run.diverged and failure is None
            run.finished = run.diverged or failure is not None or epoch == epochs
        yield from (run for run in runs if run.finished)
        alive = [index for index, run in enumerate(runs) if not run.finished]
        on_steps(per_epoch * (epochs - epoch) * (len(runs) - len(alive)))
        population.keep(alive)
        runs = [runs[index] for index in alive]
        if not runs:
            return


def _advanced(population: Population, steps: int) -> torch.Tensor:
    """Train an epoch. That a whole group has failed is no end: other groups have other numbers."""
    try:
        return population.advance(steps)
    except UserCodeError:
        if not all(population.failures):  # reading the data raised, which no other numbers will help
            raise
        return torch.full((len(population.members), steps), math.nan, dtype=torch.float64)


def _record(run: Run, losses: torch.Tensor) -> None:
    values = losses.tolist()
    finite = sum(1 for value in values if math.isfinite(value))
    run.steps += finite
    run.diverged = finite < len(values)
    run.curve.loss.extend(values[:finite])  # a divergence ends the curve


def _measure(population: Population, runs: list[Run], splits: list[str], epoch: int) -> None:
    measured: dict[str, Evaluation] = {split: population.evaluate(split) for split in splits}
    # The metrics shown are the validation set's; without one, the training subset's.
    metrics = measured[splits[-1]].metrics
    for index, run in enumerate(runs):
        row: dict[str, float | int | None] = {"epoch": epoch, "step": run.steps}
        row |= {f"{split}_loss": _finite(measured[split].loss[index]) for split in splits}
        row |= {name: _finite(values[index]) for name, values in metrics.items()}
        # A loss that is not finite after an epoch of finite minibatches is a divergence in its last step; one that
        # was not before any training is the data's fault.
        first = run.curve.evaluations[0] if run.curve.evaluations else row
        lost = [
            name
            for name in ("train_loss", "val_loss")
            if row.get(name) is None and first.get(name) is not None
        ]
        run.diverged = run.diverged or bool(lost) or row["train_loss"] is None
        run.curve.evaluations.append(row)


def _finite(value: torch.Tensor) -> float | None:
    number = float(value)
    return number if math.isfinite(number) else None
