"""Steps 4 and 5 with their studies: run by who leads them, or worked on by others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lrtune.errors import UsageError
from lrtune.provenance import changed, fingerprint
from lrtune.studies import FILE, Studies, Variants, of_study
from lrtune.study.opening import StudyFileError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lrtune.results import StepResult
    from lrtune.run_dir import RunDir, Stored
    from lrtune.steps.context import Context
    from lrtune.study.queue import TrialQueue


class Grids:
    """The two grids of a task.

    Args:
        studies: Says where their studies are.
        variants: The task made ready for values of further axes.
        run_dir: Holds the study's file where no storage is set.
    """

    def __init__(self, studies: Studies, variants: Variants, run_dir: RunDir | None = None) -> None:
        self.studies = studies
        self.variants = variants
        self._run_dir = run_dir

    def coarse(
        self, context: Context, origin: Mapping[str, Any], suggestion: float | None, stored: Stored | None
    ) -> StepResult:
        """Run step 4, keeping what an earlier run of the same grid has trained."""
        from lrtune.steps.coarse_grid import Grid, coarse_grid

        done = stored.result if stored and not changed(stored.made_from, origin) else None
        place = self.studies.place("coarse-grid", origin)
        opened = self._opened(context)
        grid = Grid(place, self.studies.made_from(origin), opened, places=self.variants.axes.places)
        return self._sound(lambda: coarse_grid(context, suggestion, done, grid))

    def refine(
        self,
        context: Context,
        origin: Mapping[str, Any],
        coarse: StepResult,
        stored: Stored | None,
        more: int = 0,
    ) -> StepResult:
        """Run step 5, going on with the same search where there was one.

        Args:
            context: The task made ready.
            origin: What the result is made from.
            coarse: Step 4's result.
            stored: Of an earlier run.
            more: Trials to add to those that the search has.

        Raises:
            UsageError: If there is no search of these settings to add trials to.
        """
        from lrtune.steps.refine_grid import Study, refine_grid

        same = stored is not None and fingerprint(of_study(stored.made_from)) == fingerprint(of_study(origin))
        done = stored.result if stored and same else None
        if more and stored and done is None:
            raise UsageError(_nothing_to_add_to(stored, origin))
        combination = self.variants.best_of(coarse)
        place = self.studies.place("refine-grid", origin)
        study = Study(place, self.studies.made_from(origin), combination, more=more)
        variant = self.variants.open(combination, context)
        return self._sound(lambda: refine_grid(variant, coarse, study, done))

    def work_on_coarse(self, context: Context, origin: Mapping[str, Any], queue: TrialQueue) -> int:
        """Train cells of another's step 4; return how many."""
        from lrtune.steps.coarse_grid import Grid, work_on_coarse_grid
        from lrtune.steps.shared_trials import Role

        made_from = self.studies.made_from(origin)
        grid = Grid(queue.place, made_from, self._opened(context), Role(leads=False))
        return work_on_coarse_grid(context, grid, queue)

    def work_on_refine(self, context: Context, origin: Mapping[str, Any], queue: TrialQueue) -> int:
        """Train trials of another's step 5; return how many."""
        from lrtune.steps.refine_grid import Study, work_on_refined_grid
        from lrtune.steps.refine_setup import combination_of
        from lrtune.steps.shared_trials import Role

        combination = combination_of(queue)
        study = Study(queue.place, self.studies.made_from(origin), combination, Role(leads=False))
        return work_on_refined_grid(self.variants.open(combination, context), study, queue)

    def _opened(self, context: Context) -> Callable[..., Context]:
        return lambda combination: self.variants.open(combination, context)

    def _sound(self, run: Callable[[], StepResult]) -> StepResult:
        """A study's file that is damaged is set aside: what was trained stands in plain files too."""
        try:
            return run()
        except StudyFileError as error:
            if self._run_dir is None:
                raise
            self._run_dir.set_aside(self._run_dir.path / FILE, str(error))
            return run()


def _nothing_to_add_to(stored: Stored, origin: Mapping[str, Any]) -> str:
    before, now = of_study(stored.made_from), of_study(origin)
    names = changed({**before, **_flat(before)}, {**now, **_flat(now)})
    told = ", ".join(name for name in names if name != "refine")
    return (
        f"--more: {told} changed, and with that it is another search, which begins anew: lrtune grid --refine CONFIG "
        "(other trials, timeout and seeds go on with the same one)"
    )


def _flat(origin: Mapping[str, Any]) -> dict[str, Any]:
    return {f"refine.{key}": value for key, value in origin["refine"].items()}
