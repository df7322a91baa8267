"""Step 4: a few learning rates around step 3 times a few weight decays, each for a few epochs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from lrtune.checks import grid as checks
from lrtune.population.protocol import Member
from lrtune.population.training import Run, train_members
from lrtune.results import Curve, Finding, StepResult
from lrtune.steps.trials import Trial, best_of, labelled, ranked, rounded, score, trial_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lrtune.progress import Bar
    from lrtune.steps.context import Context

HALF_DECADES = (-3, -2, -1, 0, 1)  # around the suggestion: short sweeps favour rates that are too high
_RATE_FACTOR = math.sqrt(10)
_DECAY_FACTOR = 10.0
_EXTENSIONS = 2  # of each axis, in each direction


def coarse_grid(context: Context, suggestion: float | None, done: StepResult | None = None) -> StepResult:
    """Train every cell of the grid; extend it where the best cell lies at an edge, a bounded number of times.

    Args:
        context: The task made ready.
        suggestion: Of step 3, for `coarse.lr: auto`.
        done: An earlier run of the same settings, finished or not; its cells are not trained again.

    Raises:
        UserCodeError: If the user's code raises in every cell.
    """
    grid = _Grid(context, done)
    settings = context.config.coarse
    rates = _auto_rates(suggestion) if settings.lr == "auto" else [float(rate) for rate in settings.lr]
    decays = [float(decay) for decay in settings.weight_decay] if context.program.decays else [0.0]
    if not context.program.decays and any(settings.weight_decay):
        context.progress.note("this optimizer has no weight decay: the grid is over learning rates alone")
    if grid.trained:
        context.progress.note(f"coarse-grid: {len(grid.trained)} cells are trained already")
    with context.progress.bar("coarse grid", 0) as bar:
        grid.train([(rate, decay) for rate in rates for decay in decays], bar)
        while cells := grid.beyond_the_edge():
            grid.train(cells, bar)
    return grid.result()


def _auto_rates(suggestion: float | None) -> list[float]:
    assert suggestion is not None, "step 3 gave no rate"
    return [rounded(suggestion * 10 ** (half_decade / 2)) for half_decade in HALF_DECADES]


class _Grid:
    """The cells trained so far.

    What an earlier run has trained stands in `trained` until the grid comes to that cell. So a resumed grid takes the
    same way, extensions included, as one that was never interrupted.
    """

    def __init__(self, context: Context, done: StepResult | None) -> None:
        self._context = context
        self._trials: list[Trial] = []
        self._curves: dict[str, Curve] = {}
        self._failures: list[tuple[str, Exception]] = []
        self._extended: list[str] = []
        self._extensions: dict[tuple[str, str], int] = {}
        earlier = [trial for trial in done.summary["trials"] if trial["state"] != "failed"] if done else []
        self.trained = {(trial["lr"], trial["weight_decay"]): trial for trial in earlier}
        self._earlier_curves = done.curves if done else {}

    def train(self, cells: Sequence[tuple[float, float]], bar: Bar) -> None:
        config = self._context.config
        fresh = [cell for cell in dict.fromkeys(cells) if cell not in self._cells()]
        for cell in fresh:
            if cell in self.trained:
                self._take(self.trained.pop(cell))
        members = [
            Member(lr, wd, config.seed, config.seed) for lr, wd in fresh if (lr, wd) not in self._cells()
        ]
        bar.extend(len(members) * config.coarse.epochs * self._context.data.train.counted())
        runs = train_members(
            self._context.planner, members, self._context.data, config.coarse.epochs, on_steps=bar.advance
        )
        total = len(self._trials) + len(members)
        bar.tell(f"cell {len(self._trials) + 1} of {total}")
        for run in runs:
            self._add(run)
            bar.tell(f"cell {min(len(self._trials) + 1, total)} of {total}")
        if self._failures and len(self._failures) == len(self._trials):
            raise self._failures[0][1]

    def _cells(self) -> set[tuple[float, float]]:
        return {(trial["lr"], trial["weight_decay"]) for trial in self._trials}

    def _take(self, trial: Trial) -> None:
        self._trials.append(trial)
        self._curves[trial["curve"]] = self._earlier_curves[trial["curve"]]

    def _add(self, run: Run) -> None:
        # Not the count: of an unfinished grid the failed cells are left out, and their numbers with them.
        taken = [int(name.rsplit("-", 1)[1]) for name in {**self._earlier_curves, **self._curves}]
        name = f"coarse-{max(taken, default=-1) + 1:03d}"
        self._curves[name] = run.curve
        self._trials.append(trial_of(run, name))
        if run.failure:
            self._failures.append((labelled(self._trials[-1]), run.failure))
        self._context.keep(self._result_with(list(self.trained.values())))

    def beyond_the_edge(self) -> list[tuple[float, float]]:
        """Return cells past the edge that the best cell lies at, none where it lies inside or enough was added."""
        best = best_of(self._trials)
        if best is None:
            return self._below_everything()
        for axis, factor in (("lr", _RATE_FACTOR), ("weight_decay", _DECAY_FACTOR)):
            values = self._values(axis)
            if checks.at_edge(best[axis], values) and self._gain(best, axis) >= checks.MATTERS:
                up = best[axis] == values[-1]
                beyond = rounded(best[axis] * factor if up else best[axis] / factor)
                if self._may_extend(axis, "up" if up else "down", beyond):
                    return self._line(axis, beyond, best)
        return []

    def _below_everything(self) -> list[tuple[float, float]]:
        if not self._trials:
            return []
        lower = rounded(min(self._values("lr")) / _RATE_FACTOR**2)
        return (
            [(lower, decay) for decay in self._values("weight_decay")]
            if self._may_extend("lr", "down", lower)
            else []
        )

    def _may_extend(self, axis: str, direction: str, value: float) -> bool:
        count = self._extensions[(axis, direction)] = self._extensions.get((axis, direction), 0) + 1
        if count > _EXTENSIONS:
            return False
        name = "learning rate" if axis == "lr" else "weight decay"
        self._extended.append(f"{name} {direction} to {value:.3g}")
        why = (
            "the best cell lies at the edge of the grid" if best_of(self._trials) else "no cell has completed"
        )
        self._context.progress.note(f"{why}: extending the {self._extended[-1]}")
        return True

    def _line(self, axis: str, value: float, best: Trial) -> list[tuple[float, float]]:
        """A new rate meets every decay; a new decay only the best rate and its neighbours, where it can matter."""
        if axis == "lr":
            return [(value, decay) for decay in self._values("weight_decay")]
        rates = self._values("lr")
        at = rates.index(best["lr"])
        return [(rate, value) for rate in rates[max(at - 1, 0) : at + 2]]

    def _values(self, axis: str) -> list[float]:
        return sorted({float(trial[axis]) for trial in self._trials})

    def _gain(self, best: Trial, axis: str) -> float:
        """How much better the best is than the inner neighbour on an axis, as a share of the whole fall of the loss."""
        values = self._values(axis)
        inner = values[-2] if best[axis] == values[-1] else values[1]
        other = "weight_decay" if axis == "lr" else "lr"
        neighbours = [t for t in self._trials if t[axis] == inner and t[other] == best[other]]
        fall = self._initial_loss() - score(best)
        if not neighbours or fall <= 0:
            return math.inf
        return (score(neighbours[0]) - score(best)) / fall

    def _initial_loss(self) -> float:
        first = next((curve.evaluations[0] for curve in self._curves.values() if curve.evaluations), {})
        loss = first.get("val_loss") if first.get("val_loss") is not None else first.get("train_loss")
        return math.nan if loss is None else float(loss)

    def result(self) -> StepResult:
        return self._result_with([])

    def _result_with(self, waiting: Sequence[Trial]) -> StepResult:
        """Return the result, together with cells of an earlier run that the grid has not come to yet."""
        details = {
            "initial_loss": self._initial_loss(),
            "epochs": self._context.config.coarse.epochs,
            "extended": self._extended,
        }
        trials = [*self._trials, *waiting]
        summary = {"best": best_of(trials), "trials": ranked(trials)}
        curves = {trial["curve"]: self._earlier_curves[trial["curve"]] for trial in waiting} | self._curves
        return StepResult("coarse-grid", self._findings(), summary, details=details, curves=curves)

    def _findings(self) -> list[Finding]:
        judged = [checks.all_diverged(self._trials), checks.trial_failed(self._failures, len(self._trials))]
        if best := best_of(self._trials):
            judged += [
                checks.best_at_grid_edge(best, axis, values, self._gain(best, axis))
                for axis in ("lr", "weight_decay")
                if len(values := self._values(axis)) > 1 and checks.at_edge(best[axis], values)
            ]
        return [found for found in judged if found]
