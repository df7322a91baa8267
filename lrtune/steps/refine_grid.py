"""Step 5: a search with Optuna around the best cells of the coarse grid, for more epochs, at constant rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.checks import grid as checks
from lrtune.population.protocol import Member
from lrtune.population.training import train_members
from lrtune.results import Finding, StepResult
from lrtune.steps.attempts import attempts
from lrtune.steps.shared_trials import Role, SharedTrials, lost_row
from lrtune.steps.trials import Trial, best_of, labelled, ranked, score, trial_of
from lrtune.study.agreement import agree
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue
from lrtune.study.search import Search, place_of
from lrtune.study.space import Space
from lrtune.study.trials import Wanted, losses_by_epoch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from lrtune.progress import Bar
    from lrtune.steps.cells import Combination
    from lrtune.steps.context import Context
    from lrtune.study.search import Asked
    from lrtune.study.trials import Taken

_CELLS = 3  # of the coarse grid, the best ones, that open the search
_FEWEST_SEEDS = 2  # one pair of trainings has no spread to judge a gain by
_BATCH = 5  # trials asked for at a time: more would leave the sampler little to learn from
_SHARE = 8  # and of a shared study at most one in so many of those left, for the same reason


@dataclass(frozen=True)
class Study:
    """What a refined search needs besides the task.

    Attributes:
        place: Where its study is kept.
        made_from: What the study is of, for those who share it.
        combination: Values of the coarse grid's further axes, of its best cell.
        role: Who works on it.
    """

    place: StudyPlace = field(default_factory=lambda: StudyPlace(None, "refine"))
    made_from: Mapping[str, Any] = field(default_factory=dict)
    combination: Combination = ()
    role: Role = field(default_factory=Role)


def refine_grid(
    context: Context, coarse: StepResult, study: Study | None = None, done: StepResult | None = None
) -> StepResult:
    """Search around the best cells, go on where an earlier search stopped, and repeat the winner over seeds.

    Args:
        context: The task made ready, with the values of the best combination.
        coarse: The coarse grid's result, with at least one complete cell.
        study: Where the study is kept, and who else works on it; in memory where it is not given.
        done: A result of the same search, finished or not, for its curves.

    Raises:
        StudyFileError: If the study's file is damaged.
        StorageError: If a shared study is of something else, or its storage stays away.
        UserCodeError: If the user's code raises in every trial, or alike in the first ones.
    """
    study = study or Study()
    axes = dict(study.combination)
    trials = [one for one in coarse.summary["trials"] if axes.items() <= one.items()]
    complete = [one for one in trials if one["state"] == "complete"]
    decays = [float(one["weight_decay"]) for one in trials] if context.program.decays else [0.0]
    found = {
        "space": Space.around(complete[:_CELLS], decays).to_dict(),
        "cells": [[float(one["lr"]), float(one["weight_decay"])] for one in complete[:_CELLS]],
        "trials": context.config.refine.trials,
        "combination": [list(pair) for pair in study.combination],
    }
    queue = TrialQueue(study.place)
    try:
        if study.place.shared:
            found = _agreed(queue, {"made_from": study.made_from, **found})
        search = _Refinement(context, found, study, done, queue)
        return search.run()
    finally:
        queue.close()  # which gives back what was taken and not told


def work_on_refined_grid(context: Context, study: Study, queue: TrialQueue) -> int:
    """Train trials of a study that another process has made, until none is left; return how many.

    Raises:
        StorageError: If the study is of something else, or its storage stays away.
        UserCodeError: If the user's code raises alike in the first trials.
    """
    found = agree(queue, {"made_from": study.made_from}, ("space", "cells", "trials", "combination"))
    work = _Refinement(context, found, study, None, queue)
    work.search()
    return work.trials.trained


def combination_of(queue: TrialQueue) -> Combination:
    """Return the values of further axes that a refined search's study was made with."""
    return tuple((str(name), value) for name, value in (queue.setup or {}).get("combination", []))


def _agreed(queue: TrialQueue, setup: dict[str, Any]) -> dict[str, Any]:
    """Return what the study is of; more trials than there were are the study's from now on."""
    found = agree(queue, setup, ("trials",))
    if setup["trials"] > found["trials"]:
        found = {**found, "trials": setup["trials"]}
        queue.set_up(found)
    return found


class _Refinement:
    """The trials told so far, and what the repeats say of the best."""

    def __init__(
        self,
        context: Context,
        found: Mapping[str, Any],
        study: Study,
        done: StepResult | None,
        queue: TrialQueue,
    ) -> None:
        self._context = context
        self._settings = context.config.refine
        self._study = study
        self._axes = dict(study.combination)
        self._cells = [(float(lr), float(decay)) for lr, decay in found["cells"]]
        self._space = Space(**found["space"])
        config = context.config
        self._search = Search(queue, self._space, self._settings.sampler, config.seed)
        self._wanted = self._search.wanted(int(found["trials"]), self._cells)
        self._adopt(queue, done)
        self.trials = SharedTrials(queue, study.role, done.curves if done else {})
        self._repeats: dict[str, list[float]] = {}

    def _adopt(self, queue: TrialQueue, done: StepResult | None) -> None:
        """Give the study the trials that only the plain files hold: it was lost, or the process died in between."""
        told = queue.told()
        for row in done.summary["trials"] if done and not queue.place.shared else []:
            identity = f"trial {int(row['curve'].rsplit('-', 1)[1])}"
            if identity not in told and row["state"] != "failed" and done:
                axes = {**self._space.distributions()}
                params = self._space.parameters_of(row["lr"], row["weight_decay"])
                losses = losses_by_epoch(done.curves[row["curve"]].evaluations)
                queue.adopt(Wanted(identity, params, axes), row, score(row), losses)

    @property
    def _rows(self) -> list[Trial]:
        """The trials told, in the search's order."""
        return [self.trials.rows[identity] for identity in sorted(self.trials.rows, key=place_of)]

    def run(self) -> StepResult:
        self.search()
        with self._context.progress.bar("refined grid", 0) as bar:
            self._repeat(bar, self._settings.epochs * self._context.data.train.counted())
        return self.result()

    def search(self) -> None:
        """Train trials until none of the study's is left."""
        if self.trials.rows:
            self._context.progress.note(
                f"refine-grid: {len(self.trials.rows)} trials are in the study already"
            )
        with self._context.progress.bar("refined grid", 0) as bar:
            while missing := [one for one in self._wanted if one.identity not in self.trials.rows]:
                bar.tell(f"trial {len(self.trials.rows) + 1} of {len(self._wanted)}")
                if taken := self.trials.take(missing, _BATCH, _SHARE):
                    self._train(self._drawn(taken), bar)
                else:
                    self.trials.wait(missing, self._context.progress.note)
                self.trials.refresh()
        self.trials.refuse_if_all_failed(self._rows)

    def _drawn(self, taken: Sequence[Taken]) -> list[Asked]:
        asked = self._search.draw(taken)
        for one in [one for one in asked if self.trials.deadly(one.taken)]:
            settings = {"lr": one.lr, "weight_decay": one.weight_decay, **self._axes}
            name, seed = _curve_of(one.taken), self._context.config.seed
            self.trials.give_up(one.taken, lost_row(settings, seed, name, one.taken.deaths))
            asked.remove(one)
        return asked

    def _train(self, asked: Sequence[Asked], bar: Bar) -> None:
        seed = self._context.config.seed
        members = [Member(one.lr, one.weight_decay, seed, seed) for one in asked]
        waiting = list(asked)
        bar.extend(len(members) * self._settings.epochs * self._context.data.train.counted())
        for attempt in attempts(self._context, members, self._settings.epochs, bar.advance):
            member = attempt.run.member
            setting = (member.learning_rate, member.weight_decay)
            one = waiting.pop([(one.lr, one.weight_decay) for one in waiting].index(setting))
            row = trial_of(attempt.run, _curve_of(one.taken), self._axes, attempt.tries)
            self.trials.add(one.taken, attempt, row, lambda: self._context.keep(self.result()))

    def _repeat(self, bar: Bar, per_trial: int) -> None:
        """Train the best refined setting and the best coarse cell again, under seeds that chose neither.

        The seed of the search is left out: the best of many trials owes a part of its loss to that seed.
        """
        best, coarse = best_of(self._rows), self._coarse_row()
        if best is None or coarse is None or self._settings.seeds < _FEWEST_SEEDS:
            return
        if best["curve"] == coarse["curve"]:
            return
        first = self._context.config.seed + 1
        seeds = range(first, first + self._settings.seeds)
        members = [
            Member(row["lr"], row["weight_decay"], seed, seed) for seed in seeds for row in (coarse, best)
        ]
        bar.extend(len(members) * per_trial)
        bar.tell(f"the best again under {len(seeds)} more seeds")
        runs = train_members(
            self._context.planner, members, self._context.data, self._settings.epochs, on_steps=bar.advance
        )
        losses = {
            (m.learning_rate, m.weight_decay, m.seed): score(trial_of(run, ""))
            for run in runs
            for m in [run.member]
        }
        pairs = [
            tuple(losses[row["lr"], row["weight_decay"], seed] for row in (coarse, best)) for seed in seeds
        ]
        finite = [
            pair for pair in pairs if math.isfinite(sum(pair))
        ]  # a seed that diverges has no loss to compare
        self._repeats = {"coarse": [pair[0] for pair in finite], "refined": [pair[1] for pair in finite]}

    def _coarse_row(self) -> Trial | None:
        """The coarse grid's best cell, trained here for as many epochs as every other trial."""
        return next((row for row in self._rows if (row["lr"], row["weight_decay"]) == self._cells[0]), None)

    def result(self) -> StepResult:
        gain, noise = None, None
        if self._repeats.get("coarse"):
            gain, noise = checks.paired_gain(self._repeats["coarse"], self._repeats["refined"])
        details: dict[str, Any] = {
            "epochs": self._settings.epochs,
            "repeats": self._repeats,
            "gain": gain,
            "noise": noise,
            "space": self._space.to_dict(),
            "study": self._study.place.name,
        }
        summary = {"best": self._chosen(gain), "trials": ranked(self._rows)}
        curves = {row["curve"]: self.trials.curves[row["curve"]] for row in self._rows}
        return StepResult("refine-grid", self._findings(), summary, details=details, curves=curves)

    def _chosen(self, gain: float | None) -> Trial | None:
        """The best trial; the coarse grid's cell where, over all seeds, the refined one is no better."""
        return self._coarse_row() if gain is not None and gain <= 0 else best_of(self._rows)

    def _findings(self) -> list[Finding]:
        judged = [checks.all_diverged(self._rows), checks.failed_trials(self._rows, labelled)]
        best, coarse = best_of(self._rows), self._coarse_row()
        if best is not None and coarse is not None:
            judged.append(checks.refine_no_gain(coarse, best["curve"] == coarse["curve"]))
        if self._repeats:
            judged.append(checks.within_seed_noise(self._repeats["coarse"], self._repeats["refined"]))
        return [found for found in judged if found]


def _curve_of(taken: Taken) -> str:
    return f"refine-{place_of(taken.identity):03d}"
