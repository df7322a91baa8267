"""Step 5: a search with Optuna around the best cells of the coarse grid, for more epochs, at constant rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lrtune.checks import grid as checks
from lrtune.population.protocol import Member
from lrtune.population.training import train_members
from lrtune.results import Curve, Finding, StepResult
from lrtune.steps.trials import Trial, best_of, labelled, ranked, score, trial_of
from lrtune.study.search import Search
from lrtune.study.space import Space

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.progress import Bar
    from lrtune.steps.context import Context
    from lrtune.study.search import Asked

_CELLS = 3  # of the coarse grid, the best ones, that open the search
_FEWEST_SEEDS = 2  # one pair of trainings has no spread to judge a gain by
_BATCH = 5  # trials asked for at a time: more would leave the sampler little to learn from


@dataclass(frozen=True)
class StudyPlace:
    """Where the study is kept.

    Attributes:
        path: A SQLite file, or None for memory.
        name: Of the study.
    """

    path: str | None
    name: str


def refine_grid(
    context: Context, coarse: StepResult, place: StudyPlace, done: StepResult | None = None
) -> StepResult:
    """Search around the best cells, go on where an earlier search stopped, and repeat the winner over seeds.

    Args:
        context: The task made ready.
        coarse: The coarse grid's result, with at least one complete cell.
        place: Where the study is kept.
        done: An unfinished result of the same search, for its curves.

    Raises:
        StudyFileError: If the study's file is damaged.
        UserCodeError: If the user's code raises in every trial.
    """
    return _Refinement(context, coarse, place, done).run()


class _Refinement:
    """The trials told so far, and what the repeats say of the best."""

    def __init__(
        self, context: Context, coarse: StepResult, place: StudyPlace, done: StepResult | None
    ) -> None:
        self._context = context
        self._settings = context.config.refine
        cells = [trial for trial in coarse.summary["trials"] if trial["state"] == "complete"]
        self._cells = [(float(cell["lr"]), float(cell["weight_decay"])) for cell in cells[:_CELLS]]
        decays = [float(trial["weight_decay"]) for trial in coarse.summary["trials"]]
        self._space = Space.around(cells[:_CELLS], decays if context.program.decays else [0.0])
        config = context.config
        self._study = place.name
        self._search = Search(self._space, place.path, place.name, config.refine.sampler, config.seed)
        self._search.suggest(self._cells)
        self._rows: list[Trial] = self._search.told
        # A process killed between storing a trial and telling it leaves a curve of a trial that is trained anew.
        told, stored = {row["curve"] for row in self._rows}, done.curves if done else {}
        self._curves: dict[str, Curve] = {name: curve for name, curve in stored.items() if name in told}
        self._failures: list[tuple[str, Exception]] = []
        self._repeats: dict[str, list[float]] = {}

    def run(self) -> StepResult:
        if self._rows:
            self._context.progress.note(f"refine-grid: {len(self._rows)} trials are in the study already")
        per_trial = self._settings.epochs * self._context.data.train.counted()
        missing = max(self._settings.trials - len(self._rows), 0)
        without_curve = [row for row in self._rows if row["curve"] not in self._curves]
        with self._context.progress.bar("refined grid", (missing + len(without_curve)) * per_trial) as bar:
            self._draw_again(without_curve, bar)
            try:
                while len(self._rows) < self._settings.trials:
                    bar.tell(f"trial {len(self._rows) + 1} of {self._settings.trials}")
                    self._train(self._search.ask(min(_BATCH, self._settings.trials - len(self._rows))), bar)
            finally:
                self._search.give_back()  # after an interruption, what was asked for and not trained
            self._repeat(bar, per_trial)
        return self.result()

    def _draw_again(self, rows: Sequence[Trial], bar: Bar) -> None:
        """Train trials of the study again whose curves are lost: the same numbers, and so the same curves."""
        seed = self._context.config.seed
        settings = dict.fromkeys((row["lr"], row["weight_decay"]) for row in rows)
        runs = train_members(
            self._context.planner,
            [Member(lr, weight_decay, seed, seed) for lr, weight_decay in settings],
            self._context.data,
            self._settings.epochs,
            on_steps=bar.advance,
        )
        curves = {(run.member.learning_rate, run.member.weight_decay): run.curve for run in runs}
        self._curves |= {row["curve"]: curves[row["lr"], row["weight_decay"]] for row in rows}

    def _train(self, asked: Sequence[Asked], bar: Bar) -> None:
        seed = self._context.config.seed
        members = [Member(one.lr, one.weight_decay, seed, seed) for one in asked]
        waiting = list(asked)
        runs = train_members(
            self._context.planner, members, self._context.data, self._settings.epochs, on_steps=bar.advance
        )
        for run in runs:
            setting = (run.member.learning_rate, run.member.weight_decay)
            number = waiting.pop([(one.lr, one.weight_decay) for one in waiting].index(setting)).number
            name = f"refine-{number:03d}"
            row = trial_of(run, name)
            if run.failure:
                self._failures.append((labelled(row), run.failure))
            self._curves[name] = run.curve
            self._rows.append(row)
            self._context.keep(
                self.result()
            )  # before the study knows: a crash in between repeats it, never loses it
            loss = score(row)
            self._search.tell(number, row, loss if row["state"] == "complete" else None)
        if self._failures and len(self._failures) == len(self._rows):
            raise self._failures[0][1]

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
            "study": self._study,
        }
        summary = {"best": self._chosen(gain), "trials": ranked(self._rows)}
        return StepResult(
            "refine-grid", self._findings(), summary, details=details, curves=dict(self._curves)
        )

    def _chosen(self, gain: float | None) -> Trial | None:
        """The best trial; the coarse grid's cell where, over all seeds, the refined one is no better."""
        return self._coarse_row() if gain is not None and gain <= 0 else best_of(self._rows)

    def _findings(self) -> list[Finding]:
        judged = [checks.all_diverged(self._rows), checks.trial_failed(self._failures, len(self._rows))]
        best, coarse = best_of(self._rows), self._coarse_row()
        if best is not None and coarse is not None:
            judged.append(checks.refine_no_gain(coarse, best["curve"] == coarse["curve"]))
        if self._repeats:
            judged.append(checks.within_seed_noise(self._repeats["coarse"], self._repeats["refined"]))
        return [found for found in judged if found]
