"""Step 5: a search with Optuna around the best cells of the coarse grid, for more epochs, at constant rate."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.population.protocol import Member
from lrtune.results import StepResult
from lrtune.steps.attempts import attempts
from lrtune.steps.pruning import Pruning, asked_of
from lrtune.steps.refine_findings import refine_findings
from lrtune.steps.refine_setup import GROWS, agreed, further, round_of, starting_point
from lrtune.steps.repeats import Repeats, repeated, repeats_from
from lrtune.steps.shared_trials import Role, SharedTrials, lost_row
from lrtune.steps.trials import Trial, best_of, counted, ranked, score, trial_of
from lrtune.study.agreement import agree
from lrtune.study.place import StudyPlace
from lrtune.study.pruning import Reports
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
        more: Trials to add to those that the search has, in a further round.
    """

    place: StudyPlace = field(default_factory=lambda: StudyPlace(None, "refine"))
    made_from: Mapping[str, Any] = field(default_factory=dict)
    combination: Combination = ()
    role: Role = field(default_factory=Role)
    more: int = 0


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
    queue = TrialQueue(study.place)
    try:
        found = starting_point(context, coarse, study.combination)
        if study.place.shared:
            found = agreed(queue, {"made_from": study.made_from, **found})
        else:
            known = queue.setup or (done.details if done else {})
            found["rounds"] = list(known.get("rounds") or [])
        if study.more:
            found["rounds"] = [*found["rounds"], further(context, coarse, study.more, found, done)]
            queue.set_up({**(queue.setup or {}), "rounds": found["rounds"]})
        return _Refinement(context, found, study, coarse, done, queue).run()
    finally:
        queue.close()  # which gives back what was taken and not told


def work_on_refined_grid(context: Context, study: Study, queue: TrialQueue) -> int:
    """Train trials of a study that another process has made, until none is left; return how many.

    Raises:
        StorageError: If the study is of something else, or its storage stays away.
        UserCodeError: If the user's code raises alike in the first trials.
    """
    found = agree(queue, {"made_from": study.made_from}, ("space", "cells", "combination", *GROWS))
    work = _Refinement(context, found, study, None, None, queue)
    work.search()
    return work.trials.trained


class _Refinement:
    """The trials told so far, and what the repeats say of the best."""

    def __init__(
        self,
        context: Context,
        found: Mapping[str, Any],
        study: Study,
        coarse: StepResult | None,
        done: StepResult | None,
        queue: TrialQueue,
    ) -> None:
        self._context, self._grid = context, coarse
        self._settings = context.config.refine
        self._study = study
        self._axes = dict(study.combination)
        self._cells = [(float(lr), float(decay)) for lr, decay in found["cells"]]
        self._rounds = list(found.get("rounds") or [])
        now = round_of({"rounds": [], **found})
        self._space = Space(**now.space)
        self._search = Search(queue, self._space, self._settings.sampler, context.config.seed)
        self._wanted = self._search.wanted(now.trials, self._cells)
        self._reports = Reports(queue, self._settings.pruner, self._settings.epochs)
        self._adopt(queue, done)
        self.trials = SharedTrials(queue, study.role, done.curves if done else {}, context.files)
        self._repeats = repeats_from(done.details.get("repeated") if done else None)
        self._clock = study.role.clock
        self._ends = None if self._settings.timeout is None else self._clock() + self._settings.timeout
        self._left_out: str | None = None

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
        with self._context.progress.bar("refined grid", 0) as bar, self.trials.kept():
            self._repeat(bar)
        return self.result()

    # --- the search -----------------------------------------------------------------------------------------------

    def search(self) -> None:
        """Train trials until none of the study's is left, or the time is up."""
        if self.trials.rows:
            self._context.progress.note(
                f"refine-grid: {counted(len(self.trials.rows), 'trial')} in the study already"
            )
        with self._context.progress.bar("refined grid", 0) as bar, self.trials.kept():
            while missing := [one for one in self._wanted if one.identity not in self.trials.rows]:
                if self._time_is_up() and self.trials.rows:  # of nothing at all no best is found
                    self._end_early(missing)
                    break
                bar.tell(f"trial {len(self.trials.rows) + 1} of {len(self._wanted)}")
                if taken := self.trials.take(missing, _BATCH, _SHARE):
                    self._train(self._drawn(taken), bar)
                else:
                    self.trials.wait(missing, self._context.progress.note)
                self.trials.refresh()
        self.trials.refuse_if_all_failed(self._rows)

    def _time_is_up(self) -> bool:
        return self._ends is not None and self._clock() >= self._ends

    def _end_early(self, missing: Sequence[Wanted]) -> None:
        """Let others end what they have under way, and say what is left out."""
        names = [one.identity for one in missing]
        while self.trials.queue.under_way(names):
            self.trials.queue.take(0, ())  # which gives back what the dead have left
            self.trials.wait(missing, self._context.progress.note)
            self.trials.refresh()
        left = sum(name not in self.trials.rows for name in names)
        if left:
            self._leave_out(f"{left} of {len(self._wanted)} trials were not begun")

    def _leave_out(self, what: str) -> None:
        self._left_out = f"the timeout of {self._settings.timeout:g} s is up: {what}"
        self._context.progress.note(
            f"refine-grid: {self._left_out}; lrtune grid --refine, or a longer refine.timeout, goes on"
        )

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
        selection = Pruning(self._reports, asked) if self._settings.pruner != "none" else None
        for attempt in attempts(self._context, members, self._settings.epochs, bar.advance, selection):
            one = asked_of(attempt.run, waiting)
            waiting.remove(one)
            row = trial_of(attempt.run, _curve_of(one.taken), self._axes, attempt.tries)
            self.trials.add(one.taken, attempt, row, lambda: self._context.keep(self.result()))

    # --- the repeats ----------------------------------------------------------------------------------------------

    def _repeat(self, bar: Bar) -> None:
        best, coarse = best_of(self._rows), self._coarse_row()
        if best is None or coarse is None:
            return
        if self._time_is_up() and not self._repeats_hold(best, coarse):
            if self._settings.seeds > 1 and best is not coarse:
                before = f"{self._left_out.partition(': ')[2]}, and " if self._left_out else ""
                self._leave_out(f"{before}the repeats over seeds are left out")
            return
        per_trial = self._settings.epochs * self._context.data.train.counted()

        def begin(trainings: int) -> None:
            bar.extend(trainings * per_trial)
            bar.tell(f"the best again under {self._settings.seeds} more seeds")

        self._repeats = repeated(self._context, coarse, best, self._repeats, begin, bar.advance)

    def _repeats_hold(self, best: Trial, coarse: Trial) -> bool:
        known = self._repeats
        return (
            known.settings == (coarse["curve"], best["curve"]) and len(known.losses) == self._settings.seeds
        )

    def _coarse_row(self) -> Trial | None:
        """The coarse grid's best cell, trained here for as many epochs as every other trial."""
        return next((row for row in self._rows if (row["lr"], row["weight_decay"]) == self._cells[0]), None)

    # --- the result -----------------------------------------------------------------------------------------------

    def result(self) -> StepResult:
        rows = self._rows
        best, coarse = best_of(rows), self._coarse_row()
        repeats = self._repeats
        if best is None or coarse is None or repeats.settings != (coarse["curve"], best["curve"]):
            repeats = Repeats()  # of settings that are no longer the ones to choose between
        gain, noise = repeats.gain
        # The best trial; the coarse grid's cell where, over all seeds, the refined one is no better.
        chosen = coarse if gain is not None and gain <= 0 else best
        summary = {"best": chosen, "trials": ranked(rows), "repeats": repeats.summary()}
        details: dict[str, Any] = {
            "epochs": self._settings.epochs,
            "repeats": repeats.pairs,
            "repeated": self._repeats.to_dict(),
            "gain": gain,
            "noise": noise,
            "space": self._space.to_dict(),
            "rounds": self._rounds,
            "left_out": self._left_out,
            "study": self._study.place.name,
        }
        epochs, validated = self._settings.epochs, self._context.task.val is not None
        found = refine_findings(rows, coarse, self._grid, epochs, validated, repeats)
        curves = {row["curve"]: self.trials.curves[row["curve"]] for row in rows}
        return StepResult("refine-grid", found, summary, details=details, curves=curves)


def _curve_of(taken: Taken) -> str:
    return f"refine-{place_of(taken.identity):03d}"
