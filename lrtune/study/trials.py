"""What a trial of a shared study is: which one, taken or told, and what its attributes say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from optuna.trial import TrialState

from lrtune.results import judged_loss

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

IDENTITY = "lrtune:cell"  # user attributes of a trial: which one it is,
ROW = "lrtune"  # its row of the table,
CURVE = "lrtune:curve"  # its training curve, where another process needs it,
DIGEST = "lrtune:digest"  # or the digest of the curve's file,
GIVEN_BACK = "lrtune:given back"  # that it ended without a row in good order,
LATE = (
    "lrtune:late"  # and which trial (Optuna's id) it stands for, whose process was thought dead and was not
)
STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED}  # others are Optuna's FAIL


@dataclass(frozen=True)
class Wanted:
    """A trial that a study shall have.

    Attributes:
        identity: Which one; computed from what it is, the same in every process.
        params: Its parameters as far as they are known beforehand.
        distributions: Where the parameters come from; empty where they are drawn when the trial is taken.
    """

    identity: str
    params: Mapping[str, Any] = field(default_factory=dict)
    distributions: Mapping[str, BaseDistribution] = field(default_factory=dict)


@dataclass(frozen=True)
class Taken:
    """A trial that this process trains.

    Attributes:
        wanted: Which one.
        trial_id: Optuna's.
        deaths: Processes that have died while they trained it.
    """

    wanted: Wanted
    trial_id: int
    deaths: int

    @property
    def identity(self) -> str:
        """Which one, by name."""
        return self.wanted.identity


@dataclass(frozen=True)
class Told:
    """A trial that has been trained.

    Attributes:
        row: Its row of the table.
        curve: Its training curve as text, where it was handed over.
        number: Optuna's.
        digest: Of the curve's file, where there is one.
    """

    row: dict[str, Any]
    curve: str | None
    number: int
    digest: str | None = None


def living(trials: Sequence[FrozenTrial], set_aside: set[int]) -> dict[str, int]:
    """Return the number of the trial that counts, by identity: the lowest with a row, else the lowest not given up."""
    told: dict[str, int] = {}
    unfinished: dict[str, int] = {}
    for trial in trials:
        if row_of(trial, set_aside) is not None:
            told.setdefault(trial.user_attrs[IDENTITY], trial.number)
        elif not trial.state.is_finished():
            unfinished.setdefault(trial.user_attrs[IDENTITY], trial.number)
    return {**unfinished, **told}


def row_of(trial: FrozenTrial, set_aside: set[int]) -> dict[str, Any] | None:
    """Return the row that a trial has told; None where it has not, or shall be trained anew."""
    row: dict[str, Any] | None = trial.user_attrs.get(ROW)
    if row is None or not trial.state.is_finished() or trial.number in set_aside:
        return None
    # A process that died between its row and its state: the trial was failed for it, and its loss was not told.
    return row if trial.state == STATES.get(row["state"], TrialState.FAIL) else None


def deaths_of(trials: Sequence[FrozenTrial], identity: str) -> int:
    """Return how many processes have died with a trial; one that told its result later had not."""
    alive = {trial.user_attrs[LATE] for trial in trials if LATE in trial.user_attrs}
    return sum(
        trial.state == TrialState.FAIL
        and trial.user_attrs[IDENTITY] == identity
        and ROW not in trial.user_attrs
        and GIVEN_BACK not in trial.user_attrs
        and trial._trial_id not in alive
        for trial in trials
    )


def losses_by_epoch(evaluations: Sequence[Mapping[str, Any]]) -> dict[int, float]:
    """Return what Optuna knows as intermediate values: the loss that is judged, after each epoch."""
    losses = {}
    for row in evaluations:
        loss = judged_loss(row)
        if loss is not None and row.get("epoch"):
            losses[int(row["epoch"])] = float(loss)
    return losses
