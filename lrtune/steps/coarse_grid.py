"""Step 4: a few learning rates around step 3 times a few weight decays, each for a few epochs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lrtune.checks import grid as checks
from lrtune.population.protocol import Member
from lrtune.population.selection import Halving
from lrtune.results import Finding, StepResult
from lrtune.steps.attempts import attempts
from lrtune.steps.cells import (
    Cell,
    CellPlan,
    automatic_rates,
    cell_of,
    combinations_among,
    combinations_of,
    initial_loss,
)
from lrtune.steps.shared_trials import Role, SharedTrials, lost_row
from lrtune.steps.trials import Trial, best_of, counted, labelled, ranked, score, trial_of
from lrtune.study.agreement import agree
from lrtune.study.grid import wanted_cells
from lrtune.study.place import StudyPlace
from lrtune.study.queue import TrialQueue
from lrtune.study.trials import losses_by_epoch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from lrtune.progress import Bar
    from lrtune.steps.cells import Combination
    from lrtune.steps.context import Context
    from lrtune.study.trials import Taken, Wanted

    Opened = Callable[[Combination], Context]

_SHARE = 4  # of the cells left in a shared study one in so many is taken at a time: others find something too


@dataclass(frozen=True)
class Grid:
    """What a coarse grid needs besides the task.

    Attributes:
        place: Where its study is kept.
        made_from: What the study is of, for those who share it.
        opened: Makes the task ready for values of the further axes.
        role: Who works on it.
        places: Where in the settings the further axes stand, by name: a report tells the optimizer's from the task's.
    """

    place: StudyPlace = field(default_factory=lambda: StudyPlace(None, "coarse"))
    made_from: Mapping[str, Any] = field(default_factory=dict)
    opened: Opened | None = None
    role: Role = field(default_factory=Role)
    places: Mapping[str, str] = field(default_factory=dict)


def coarse_grid(
    context: Context, suggestion: float | None, done: StepResult | None = None, grid: Grid | None = None
) -> StepResult:
    """Train every cell of the grid; extend it where the best cell lies at an edge, a bounded number of times.

    Args:
        context: The task made ready.
        suggestion: Of step 3, for `coarse.lr: auto`.
        done: An earlier run of the same settings, finished or not; its cells are not trained again.
        grid: Where the cells' study is kept, and who else works on it; in memory where it is not given.

    Raises:
        StudyFileError: If the study's file is damaged.
        StorageError: If a shared study is of something else, or its storage stays away.
        UserCodeError: If the user's code raises in every cell, or alike in the first ones.
    """
    grid = grid or Grid()
    queue = TrialQueue(grid.place)
    try:
        return _CoarseGrid(context, suggestion, done, grid, queue).run()
    finally:
        queue.close()  # which gives back what was taken and not told


def work_on_coarse_grid(context: Context, grid: Grid, queue: TrialQueue) -> int:
    """Train cells of a study that another process has made, until none is left; return how many.

    Raises:
        StorageError: If the study is of something else, or its storage stays away.
        UserCodeError: If the user's code raises alike in the first cells.
    """
    work = _CoarseGrid(context, None, None, grid, queue)
    work.run()
    return work.trials.trained


class _CoarseGrid:
    """The cells, and what is trained of them."""

    def __init__(
        self,
        context: Context,
        suggestion: float | None,
        done: StepResult | None,
        grid: Grid,
        queue: TrialQueue,
    ) -> None:
        self._context = context
        self._settings = context.config.coarse
        self._grid = grid
        self._sizes: dict[tuple[str, int], int] = {}
        if grid.place.shared:
            setup = {"made_from": grid.made_from, "suggestion": suggestion}
            suggestion = agree(queue, setup, ("suggestion",))["suggestion"]
        rates = automatic_rates(suggestion) if self._settings.lr == "auto" else self._settings.lr
        decays = list(self._settings.weight_decay) if context.program.decays else [0.0]
        if not context.program.decays and any(self._settings.weight_decay):
            context.progress.note("this optimizer has no weight decay: the grid is over learning rates alone")
        self._plan = CellPlan(
            [float(rate) for rate in rates],
            [float(decay) for decay in decays],
            combinations_of(self._settings.axes),
            context.progress.note,
        )
        self._adopt(queue, done)
        self.trials = SharedTrials(queue, grid.role, done.curves if done else {}, context.files)
        if self.trials.rows:
            context.progress.note(f"coarse-grid: {counted(len(self.trials.rows), 'cell')} trained already")

    def _adopt(self, queue: TrialQueue, done: StepResult | None) -> None:
        """Give the study the cells that only the plain files hold: it is new, or was lost."""
        told = queue.told()
        for row in done.summary["trials"] if done else []:
            cell = cell_of(row, list(self._settings.axes))
            if cell.identity not in told and row["state"] != "failed" and done and not queue.place.shared:
                losses = losses_by_epoch(done.curves[row["curve"]].evaluations)
                (wanted,) = self._wanted([cell])
                queue.adopt(wanted, row, score(row), losses)

    def run(self) -> StepResult:
        with self._context.progress.bar("coarse grid", 0) as bar, self.trials.kept():
            while missing := self._missing():
                if not self._trained_some(missing, bar):
                    self.trials.wait(self._wanted(missing), self._context.progress.note)
                self.trials.refresh()
        return self._result(self._of_plan(self.trials.rows))

    def _missing(self) -> list[Cell]:
        rows = self._of_plan(self.trials.rows)
        # Before the grid is extended: where all cells raise, lower rates raise too.
        if len(rows) == len(self._plan.cells):
            self.trials.refuse_if_all_failed(list(rows.values()))
        return self._plan.missing(self.trials.rows, self.trials.curves)

    def _of_plan(self, rows: Mapping[str, Trial]) -> dict[str, Trial]:
        return {cell.identity: rows[cell.identity] for cell in self._plan.cells if cell.identity in rows}

    # --- training -------------------------------------------------------------------------------------------------

    def _trained_some(self, missing: Sequence[Cell], bar: Bar) -> bool:
        """Train a batch of cells that share their further values; say whether any was to be had."""
        for combination in combinations_among(missing):
            cells = [cell for cell in missing if cell.combination == combination]
            context = self._opened(combination)
            share = _SHARE if self._settings.halving is None else 1
            taken = self.trials.take(self._wanted(cells), self._at_once(context, cells), share)
            if taken:
                self._train(context, taken, bar)
                return True
        return False

    def _opened(self, combination: Combination) -> Context:
        return self._grid.opened(combination) if combination and self._grid.opened else self._context

    def _wanted(self, cells: Sequence[Cell]) -> list[Wanted]:
        return wanted_cells({cell.identity: cell.params for cell in cells}, self._settings.axes)

    def _at_once(self, context: Context, cells: Sequence[Cell]) -> int:
        """Return how many cells train well together, asked once for each extent of the grid."""
        if self._settings.halving is not None:  # they compete
            return len(cells)
        key = (repr(cells[0].combination), len(self._plan.cells))
        if key not in self._sizes:
            steps = self._settings.epochs * context.data.train.counted()
            members = [self._member(cell) for cell in cells]
            self._sizes[key] = context.planner.group_size(members, context.data.train, steps)
        return self._sizes[key]

    def _member(self, cell: Cell) -> Member:
        seed = self._context.config.seed
        return Member(cell.lr, cell.weight_decay, seed, seed)

    def _train(self, context: Context, taken: Sequence[Taken], bar: Bar) -> None:
        cells = {cell.identity: cell for cell in self._plan.cells}
        by_member = {self._member(cells[one.identity]): one for one in taken}
        for one in [one for one in taken if self.trials.deadly(one)]:
            cell = cells[one.identity]
            by_member.pop(self._member(cell))
            seed = self._context.config.seed
            self.trials.give_up(one, lost_row(cell.params, seed, self._name(cell), one.deaths))
        epochs = self._settings.epochs
        bar.extend(len(by_member) * epochs * context.data.train.counted())
        self._tell_bar(bar)
        halving = None
        if self._settings.halving is not None:
            halving = Halving(self._settings.halving, tuple(self._rivals(cells[taken[0].identity])))
        for attempt in attempts(context, list(by_member), epochs, bar.advance, halving):
            one = by_member[attempt.run.member]
            cell = cells[one.identity]
            row = trial_of(attempt.run, self._name(cell), dict(cell.combination), attempt.tries)
            self.trials.add(one, attempt, row, lambda: self._context.keep(self._so_far()))
            self._tell_bar(bar)

    def _rivals(self, cell: Cell) -> list[Any]:
        """Return the curves of the cells trained before that compete with these at the rungs."""
        rows = self.trials.rows
        same = [one for one in self._plan.cells if one.combination == cell.combination]
        return [self.trials.curves[rows[one.identity]["curve"]] for one in same if one.identity in rows]

    def _tell_bar(self, bar: Bar) -> None:
        total = len(self._plan.cells)
        bar.tell(f"cell {min(len(self._of_plan(self.trials.rows)) + 1, total)} of {total}")

    def _name(self, cell: Cell) -> str:
        """By its place in the grid: the same in every process and after every interruption."""
        return f"coarse-{self._plan.cells.index(cell):03d}"

    # --- the result -----------------------------------------------------------------------------------------------

    def _so_far(self) -> StepResult:
        """Return the result so far, together with cells of an earlier run that the grid has not come to yet."""
        return self._result({**self._of_plan(self.trials.rows), **self.trials.rows})

    def _result(self, rows: Mapping[str, Trial]) -> StepResult:
        curves = {row["curve"]: self.trials.curves[row["curve"]] for row in rows.values()}
        details = {
            "initial_loss": initial_loss(curves.values()),
            "epochs": self._settings.epochs,
            "extended": list(self._plan.extended),
            "axes": dict(self._grid.places),
        }
        trials = list(rows.values())
        summary = {"best": best_of(trials), "trials": ranked(trials)}
        return StepResult("coarse-grid", self._findings(), summary, details=details, curves=curves)

    def _findings(self) -> list[Finding]:
        rows = list(self._of_plan(self.trials.rows).values())
        judged = [checks.all_diverged(rows), checks.failed_trials(rows, labelled)]
        judged.append(checks.no_validation_data(self._context.task.val is not None))
        edges = self._plan.edges(self.trials.rows, self.trials.curves)
        if best := edges.best:
            judged += [
                checks.best_at_grid_edge(best, axis, values, edges.gain(axis))
                for axis in ("lr", "weight_decay")
                if len(values := edges.values(axis)) > 1 and checks.at_edge(best[axis], values)
            ]
        return [found for found in judged if found]
