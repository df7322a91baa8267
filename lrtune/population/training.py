"""Whole trainings: members through a number of epochs, measured after each; the engine's part of every grid."""

from __future__ import annotations

import math
import traceback
from collections import deque
from dataclasses import dataclass, field
from functools import partial
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
    from lrtune.population.protocol import Evaluation, Member, Population, State
    from lrtune.population.selection import Selection

    Finished = Callable[["Run", Callable[[], State]], object]


@dataclass
class Run:
    """One member's training as far as it has come.

    Attributes:
        member: What is trained.
        curve: Its losses, and its evaluations at initialisation and after each epoch.
        steps: Gradient steps taken.
        diverged: Whether its loss stopped being finite.
        failure: What the user's code raised in it, if it did.
        finished: Whether it has come to its end: all epochs, a divergence, a failure, or a rung that it lost.
        pruned: Whether it was left behind by a selection.
    """

    member: Member
    curve: Curve = field(default_factory=Curve)
    steps: int = 0
    diverged: bool = False
    failure: Exception | None = None
    finished: bool = False
    pruned: bool = False

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
    selection: Selection | None = None,
    finished: Finished = lambda run, export: None,
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
        selection: Leaves members behind on the way; all of them are held in memory then. Where that is too much,
            they compete in halves.
        finished: Told each run that has finished, with what returns its weights as long as it is being told.

    Raises:
        UserCodeError: If reading the data raises. What a member raises is its run's `failure`, a lack of memory for
            it alone too.
    """
    if not members:
        return
    splits: dict[str, Batches] = {"train": FixedBatches(data.training_subset())}
    if data.val is not None:
        splits["val"] = data.val
    per_epoch = data.train.counted()
    steps = per_epoch * epochs
    size = planner.group_size(members, data.train, steps)
    at_once = size if selection is None else len(members)
    waiting = deque(list(members[start : start + at_once]) for start in range(0, len(members), at_once))
    while waiting:
        together = waiting.popleft()
        groups: list[_Group] = []
        try:
            for start in range(0, len(together), size):
                part = together[start : start + size]
                population = planner.population(part, data.train, splits, steps, of=len(members))
                groups.append(_Group(population, list(splits), per_epoch, epochs, on_steps, finished))
                del population
            for run in _train_groups(groups, epochs, selection):
                together.remove(run.member)
                yield run
        except Exception as error:
            if not ran_out_of_memory(error):
                raise
            groups.clear()  # whose memory the halves need, and what the frames of the error hold
            for one in (error, error.__cause__):
                traceback.clear_frames(one.__traceback__ if one is not None else None)
            if len(together) < 2:
                yield from (Run(member, failure=error, finished=True) for member in together)
                continue
            half = len(together) // 2
            waiting.extendleft((together[half:], together[:half]))
            planner.note(f"out of memory: training {half} members at a time")


def _train_groups(groups: list[_Group], epochs: int, selection: Selection | None) -> Iterator[Run]:
    for group in groups:
        group.begin()
    for epoch in range(1, epochs + 1):
        for group in groups:
            yield from group.train_epoch(epoch)
        running = [run for group in groups for run in group.runs]
        if selection is not None and running:
            losing = selection.losing(running, epoch, epochs)
            for group in groups:
                yield from group.leave_behind(losing, epoch)


class _Group:
    """Members in one population."""

    def __init__(
        self,
        population: Population,
        splits: list[str],
        per_epoch: int,
        epochs: int,
        on_steps: Callable[[int], None],
        finished: Finished,
    ) -> None:
        self.runs = [Run(member) for member in population.members]
        self._population = population
        self._splits = splits
        self._per_epoch = per_epoch
        self._epochs = epochs
        self._on_steps = on_steps
        self._tell_finished = finished

    def begin(self) -> None:
        """Measure before any training."""
        _measure(self._population, self.runs, self._splits, epoch=0)

    def train_epoch(self, epoch: int) -> Iterator[Run]:
        """Advance by an epoch; yield the runs that have finished."""
        if not self.runs:
            return
        losses = _advanced(self._population, self._per_epoch)
        self._on_steps(self._per_epoch * len(self.runs))
        for run, row in zip(self.runs, losses, strict=True):
            _record(run, row)
        _measure(self._population, self.runs, self._splits, epoch)
        for run, failure in zip(self.runs, self._population.failures, strict=True):
            run.failure = failure
            run.diverged = run.diverged and failure is None
            run.finished = run.diverged or failure is not None or epoch == self._epochs
        yield from self._finished(epoch)

    def leave_behind(self, losing: Sequence[Run], epoch: int) -> Iterator[Run]:
        """Stop some of the runs; yield them."""
        for run in self.runs:
            if any(run is one for one in losing):
                run.pruned = run.finished = True
        yield from self._finished(epoch)

    def _finished(self, epoch: int) -> Iterator[Run]:
        for at, run in enumerate(self.runs):
            if run.finished:
                self._tell_finished(run, partial(self._population.export, at))
                yield run
        alive = [index for index, run in enumerate(self.runs) if not run.finished]
        gone = len(self.runs) - len(alive)
        if gone:
            self._on_steps(self._per_epoch * (self._epochs - epoch) * gone)
            self._population.keep(alive)
            self.runs = [self.runs[index] for index in alive]


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
