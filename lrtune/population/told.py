"""What a person is told of how members are trained: a line a step, and the reasons for whoever asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lrtune.population.plans import Plan
    from lrtune.progress import Progress


class Told:
    """The plans of one step, told as they are made.

    Args:
        progress: Told one line for each execution of a step.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._step = ""
        self._said: set[str] = set()
        self._plans: dict[str, None] = {}  # in order

    def begin(self, step: str) -> None:
        """Forget the step before."""
        self._step = step
        self._said.clear()
        self._plans.clear()

    @property
    def reasons(self) -> list[str]:
        """Each plan of this step with its reason, once."""
        return list(self._plans)

    def use(self, count: int, plan: Plan) -> None:
        """Keep what a plan is and why."""
        self._plans[f"{_members(count)} {plan.words}: {plan.reason}"] = None

    def choose(self, count: int, plan: Plan, refused: bool = False) -> None:
        """Say what has just been decided, unless this step has had it so already.

        Args:
            count: Members.
            plan: For them.
            refused: Whether the user has asked for another execution, and so has a right to the reason.
        """
        if plan.words not in self._said:
            self._said.add(plan.words)
            step = f"{self._step}: " if self._step else ""
            why = f": {plan.reason}" if refused else ""
            self._progress.note(f"{step}{_members(count)} {plan.words}{why}")


def _members(count: int) -> str:
    return f"{count} member{'' if count == 1 else 's'}"
