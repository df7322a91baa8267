"""The weights of the best trial, kept while it is trained."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lrtune.population.protocol import Member
from lrtune.population.training import train_members
from lrtune.steps.trials import score, trial_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from lrtune.population.protocol import State
    from lrtune.population.training import Run
    from lrtune.steps.context import Context
    from lrtune.steps.trials import Trial


@dataclass
class BestWeights:
    """Keeps the weights of the best training that it is offered: one copy, however many trainings there are.

    Attributes:
        wanted: Whether to keep any.
        state: The weights, None before any.
        member: Whose they are.
        loss: What it is judged by.
    """

    wanted: bool = False
    state: State | None = None
    member: Member | None = None
    loss: float = math.inf

    def offer(self, run: Run, export: Callable[[], State]) -> None:
        """Take a finished training's weights where it is the best so far.

        Args:
            run: The training.
            export: Returns its weights.
        """
        loss = score(trial_of(run, "")) if self.wanted else math.inf
        if loss < self.loss:
            self.state, self.member, self.loss = export(), run.member, loss

    def of(self, trial: Trial) -> State | None:
        """Return a trial's weights; None where they are another's, or none are kept."""
        if self.member is None or (self.member.learning_rate, self.member.weight_decay, self.member.seed) != (
            trial["lr"],
            trial["weight_decay"],
            trial["seed"],
        ):
            return None
        return self.state if score(trial) == self.loss else None


def trained_again(context: Context, trial: Trial, epochs: int) -> BestWeights:
    """Train a trial once more for its weights; without any where it does not complete this time.

    Args:
        context: The task made ready, with the trial's values on further axes.
        trial: The trial's row.
        epochs: For how long it was trained.
    """
    weights = BestWeights(wanted=True)
    member = Member(trial["lr"], trial["weight_decay"], trial["seed"], trial["seed"])
    steps = epochs * context.data.train.counted()
    with context.progress.bar("the best trial again, for its weights", steps) as bar:
        for _ in train_members(
            context.planner, [member], context.data, epochs, bar.advance, finished=weights.offer
        ):
            pass
    if weights.state is not None and weights.loss != score(trial):
        context.progress.note(
            f"the best trial was trained again for its weights, to a loss of {weights.loss:.6g} where it had "
            f"{score(trial):.6g}: side by side with others its rounding was another"
        )
    return weights
